"""Software that jobs need besides scripts: packages of one file, modules, registry images."""

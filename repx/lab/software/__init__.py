"""What jobs need beside their scripts: packages of one file, modules, images of registries."""

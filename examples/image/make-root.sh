#!/bin/sh
# Makes rootfs/, the root file system of the example's image: a static bash and busybox.
# An image of your own comes from anywhere, e.g.: skopeo copy docker://debian:12 docker-archive:image.tar
set -eu
cd "$(dirname "$0")"
bash=$(command -v bash-static || true) busybox=$(command -v busybox || true)
[ -n "$bash" ] && [ -n "$busybox" ] || { echo "install bash-static and busybox-static first" >&2; exit 2; }
rm -rf rootfs
mkdir -p rootfs/bin rootfs/usr/bin
cp "$bash" rootfs/bin/bash
cp "$busybox" rootfs/bin/busybox
for tool in sh env awk cat chmod cut find grep head ls mkdir mv rm sed seq sleep sort tail tr wc; do
  ln -s busybox "rootfs/bin/$tool"
done
ln -s /bin/env rootfs/usr/bin/env

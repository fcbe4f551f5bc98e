#!/bin/busybox sh
# dom0's initramfs: loads modules, mounts dom0's disk, and this project's on /splitring; what runs then lies there
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev
for m in $($b cat /modules/order); do $b insmod /modules/$m || echo "RIG lost insmod $m failed"; done
i=0; while [ ! -b /dev/vdb ] && [ $i -lt 50 ]; do $b sleep 0.1; i=$((i+1)); done
$b mount -t ext4 /dev/vda /newroot && $b mount -t ext4 -o ro /dev/vdb /newroot/splitring || { echo "RIG lost no disk"; $b poweroff -f; }
for d in proc sys dev; do $b mount --move /$d /newroot/$d; done
exec $b switch_root /newroot /bin/bash /splitring/rig/dom0-init.sh

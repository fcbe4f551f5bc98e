#!/bin/bash
# PID 1 of dom0: starts the toolstack's daemons, runs the scenarios, powers off
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/xen-4.17/bin HOME=/root TERM=dumb NO_COLOR=1
up() { cut -d' ' -f1 /proc/uptime; }
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp; mkdir -p /run/lock /var/lock /dev/pts
mount -t devpts devpts /dev/pts
ip link set lo up; hostname dom0
mkdir -p /run/xen /run/xenstored /var/log/xen/console /var/lib/xen
mount -t xenfs xenfs /proc/xen
echo "RIG step dom0 is up after $(up) s"
xenstored || echo "RIG lost xenstored ended with $?"
for i in $(seq 100); do xenstore-read -s / >/dev/null 2>&1 && break; sleep 0.1; done
xen-init-dom0 >/dev/null || echo "RIG lost xen-init-dom0 ended with $?"
xenconsoled --log=guest --log-dir=/var/log/xen/console
echo "RIG step xenstored and xenconsoled are up after $(up) s"
cd /root
node /splitring/dist/rig/dom0.js $(sed -n 's/.*rig\.scenarios=\([^ ]*\).*/\1/p' /proc/cmdline | tr + ' ')
echo "RIG exit $?"
sync
echo o > /proc/sysrq-trigger; sleep 5; reboot -f

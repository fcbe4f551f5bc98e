/**
 * What makes a TAP device of the open file 3, in perl, which every Debian has and which can do an ioctl where Node cannot: TUNSETIFF,
 * with IFF_VNET_HDR and TUNSETOFFLOAD if it may and the kernel can, SIOCSIFMTU, SIOCSIFFLAGS, and SIOCBRADDIF for a port of a bridge. Then
 * it hands on each frame with its length before it; first the bytes of header that each has, and the device's name. It ends with its
 * standard input.
 */
export const helper = `
use strict;
my ($name, $bridge, $mtu, $large) = @ARGV;
open(my $tap, '+<&=', 3) or die "file 3: $!\\n";
my $header = 0;
my $ifr = pack('a16 S x22', $name, 0x5002);
if ($large && ioctl($tap, 0x400454ca, $ifr)) {
  $header = 10;
  ioctl($tap, 0x400454d0, 7);
} else {
  $ifr = pack('a16 S x22', $name, 0x1002);
  ioctl($tap, 0x400454ca, $ifr) or die "TUNSETIFF: $!\\n";
}
$name = unpack('Z16', $ifr);
socket(my $s, 2, 2, 0) or die "socket: $!\\n";
$ifr = pack('a16 i x20', $name, $mtu);
ioctl($s, 0x8922, $ifr) or die "SIOCSIFMTU: $!\\n";
$ifr = pack('a16 S x22', $name, 0x1043);
ioctl($s, 0x8914, $ifr) or die "SIOCSIFFLAGS: $!\\n";
if ($bridge ne '') {
  $ifr = pack('a16 x24', $name);
  ioctl($s, 0x8933, $ifr) or die "SIOCGIFINDEX: $!\\n";
  my $index = unpack('x16 i', $ifr);
  $ifr = pack('a16 i x20', $bridge, $index);
  ioctl($s, 0x89a2, $ifr) or die "SIOCBRADDIF $bridge: $!\\n";
}
close($s);
syswrite(STDOUT, pack('N C a*', 1 + length($name), $header, $name));
my $both = '';
vec($both, 0, 1) = vec($both, 3, 1) = 1;
while (1) {
  select(my $ready = $both, undef, undef, undef) > 0 or next;
  if (vec($ready, 0, 1)) { exit 0 unless sysread(STDIN, my $end, 1) }
  if (vec($ready, 3, 1)) {
    my $length = sysread($tap, my $frame, 65600);
    exit 1 unless $length;
    syswrite(STDOUT, pack('N a*', $length, $frame));
  }
}
`;

#!/usr/bin/perl
# A pre-forking HTTP server (the pre-forking is einhorn's) in plain Perl: one connection at a time, one answer each.
use strict;
use warnings;
use IO::Select;
use IO::Socket;
use POSIX qw(EINTR);

die "Start me under einhorn: einhorn -m manual -b 127.0.0.1:8080 perl server.pl\n"
    unless ($ENV{EINHORN_MASTER_PID} // 0) == getppid;

# SIGUSR2 is einhorn's request to finish; SIGTERM and SIGINT are everybody else's.
my $stopping = 0;
$SIG{$_} = sub { $stopping = 1 } for qw(USR2 TERM INT);
$SIG{PIPE} = 'IGNORE';

my $listener = IO::Socket->new_from_fd($ENV{EINHORN_FD_0}, 'r+') or die "descriptor $ENV{EINHORN_FD_0}: $!\n";
# All workers wait for the same socket: another may have been faster, so accepting must not block.
$listener->blocking(0);

# Ready: from now on the master may retire an older worker. One line of JSON, no reply.
socket(my $master, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!\n";
(my $path = $ENV{EINHORN_SOCK_PATH}) =~ s/^@/\0/;    # "@name" is an abstract socket
connect($master, Socket::pack_sockaddr_un($path)) or die "$ENV{EINHORN_SOCK_PATH}: $!\n";
syswrite($master, qq({"command":"worker:ack","pid":$$}\n));
close $master;

my $ready = IO::Select->new($listener);
until ($stopping) {
    # Looking up every 0.2 s covers a signal that comes just before select.
    next unless $ready->can_read(0.2);
    my $client = $listener->accept or next;
    serve($client);
    close $client;
}

sub serve {
    my ($client) = @_;
    my $request = '';
    while ($request !~ /\r?\n\r?\n/) {
        my $got = sysread($client, $request, 4096, length $request);
        next if !defined $got && $! == EINTR;    # a signal came while we waited: the request still counts
        return unless $got;
    }
    my $body = "perl generation=$ENV{EINHORN_GENERATION} slot=$ENV{EINHORN_CHILD_INDEX} pid=$$\n";
    syswrite($client, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " . length($body)
        . "\r\nConnection: close\r\n\r\n$body");
    return;
}

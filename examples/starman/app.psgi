use strict;
use warnings;

sub {
    my $body = "starman generation=$ENV{EINHORN_GENERATION} slot=$ENV{EINHORN_CHILD_INDEX} pid=$$\n";
    return [200, ['Content-Type' => 'text/plain', 'Content-Length' => length $body], [$body]];
};

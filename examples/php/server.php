<?php
// An HTTP server in plain PHP as a worker of einhorn: one connection at a time, one answer each. Needs the pcntl extension.
declare(strict_types=1);

if ((int) getenv('EINHORN_MASTER_PID') !== posix_getppid()) {
    fwrite(STDERR, "Start me under einhorn: einhorn -m manual -b 127.0.0.1:8080 php server.php\n");
    exit(1);
}

// SIGUSR2 is einhorn's request to finish; SIGTERM and SIGINT are everybody else's.
$stopping = false;
pcntl_async_signals(true);
foreach ([SIGUSR2, SIGTERM, SIGINT] as $signal) {
    // false: a signal interrupts the wait for the next connection.
    pcntl_signal($signal, function () use (&$stopping) { $stopping = true; }, false);
}

// The inherited socket. php://fd makes a stream of a descriptor; a stream of a socket can accept.
$listener = fopen('php://fd/' . getenv('EINHORN_FD_0'), 'r+');
// All workers wait for the same socket: another may have been faster, so accepting must not block.
stream_set_blocking($listener, false);

// Ready: from now on the master may retire an older worker. One line of JSON, no reply.
$master = stream_socket_client('unix://' . getenv('EINHORN_SOCK_PATH'));
fwrite($master, json_encode(['command' => 'worker:ack', 'pid' => getmypid()]) . "\n");
fclose($master);

while (!$stopping) {
    $readable = [$listener];
    $none = null;
    // Looking up every 0.2 s covers a signal that comes just before select.
    if (!@stream_select($readable, $none, $none, 0, 200_000)) {
        continue;
    }
    $client = @stream_socket_accept($listener, 0);
    if ($client) {
        serve($client);
        fclose($client);
    }
}

function serve($client): void
{
    stream_set_timeout($client, 10);
    do {
        $line = fgets($client);
        if ($line === false) {
            return;
        }
    } while (trim($line) !== '');
    $body = sprintf("php generation=%s slot=%s pid=%d\n", getenv('EINHORN_GENERATION'), getenv('EINHORN_CHILD_INDEX'), getmypid());
    fwrite($client, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " . strlen($body)
        . "\r\nConnection: close\r\n\r\n" . $body);
}

<?php
// Speaks as CHH/einhorn does: json_encode and json_decode, sockets from EINHORN_FDS, all from $_SERVER.
if (posix_getppid() !== (int) $_SERVER['EINHORN_MASTER_PID']) {
    fwrite(STDERR, "not a worker\n");
    exit(1);
}
if (isset($_SERVER['EINHORN_FDS'])) {
    echo json_encode(['fds' => array_map('intval', explode(' ', $_SERVER['EINHORN_FDS']))]), "\n";
}
$socket = isset($_SERVER['EINHORN_SOCK_FD'])
    ? fopen('php://fd/' . $_SERVER['EINHORN_SOCK_FD'], 'r+')
    : stream_socket_client('unix://' . $_SERVER['EINHORN_SOCK_PATH']);
$send = fn (array $message) => fwrite($socket, json_encode($message) . "\n");
switch ($argv[1]) {
    case 'ack':
        $send(['command' => 'worker:ack', 'pid' => getmypid()]);
        if (!isset($_SERVER['EINHORN_SOCK_FD'])) echo json_encode(stream_get_contents($socket)), "\n";
        break;
    case 'ping':
        $send(['command' => 'worker:ping', 'pid' => getmypid(), 'request_id' => 'a 1']);
        echo json_encode(stream_get_contents($socket)), "\n";
        break;
    case 'ask':
        $send(['id' => 7, 'command' => $argv[2], 'args' => array_slice($argv, 3)]);
        do {
            $reply = json_decode(fgets($socket), true);
            echo json_encode($reply), "\n";
        } while ($reply['wait'] ?? false);
}

<?php
header('Content-Type: text/plain');
printf("php-fpm generation=%s slot=%s pid=%d\n", getenv('EINHORN_GENERATION'), getenv('EINHORN_CHILD_INDEX'), getmypid());

<?php
// Streams: a form's Content-Type and a Content-Length of the body, as HTTP_Request2 sends them too.
$type = 'Content-Type: application/x-www-form-urlencoded';
$options = ['method' => 'POST', 'header' => $type, 'content' => $argv[2], 'ignore_errors' => true];
echo file_get_contents($argv[1], false, stream_context_create(['http' => $options]));

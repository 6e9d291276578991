run lambda { |_env|
  body = "unicorn generation=#{ENV['EINHORN_GENERATION']} slot=#{ENV['EINHORN_CHILD_INDEX']} pid=#{Process.pid}\n"
  [200, { "Content-Type" => "text/plain", "Content-Length" => body.bytesize.to_s }, [body]]
}

# Tells everyone who connects the time, and hangs up. A raw TCP worker: einhorn's environment variables, a manual ACK and
# a graceful stop, in plain Ruby.
require "json"
require "socket"

abort "Start me under einhorn: einhorn -m manual -b 127.0.0.1:2345 ruby time_server.rb" unless
  ENV["EINHORN_MASTER_PID"].to_i == Process.ppid

listener = TCPServer.for_fd(Integer(ENV.fetch("EINHORN_FD_0")))

# A signal handler may only do little: it wakes the loop, which then sees what to do.
wake, waker = IO.pipe
%w[USR2 TERM INT].each { |signal| trap(signal) { waker.write_nonblock(".") } }

# Ready from here on: say so. There is no reply; the master closes the connection.
# A path that begins with "@" names an abstract socket: its first byte is zero.
UNIXSocket.open(ENV.fetch("EINHORN_SOCK_PATH").sub(/\A@/, "\0")) do |master|
  master.puts JSON.generate(command: "worker:ack", pid: Process.pid)
end

loop do
  readable, = IO.select([listener, wake])
  break if readable.include?(wake)

  # All workers wait for the same socket: another may have been faster, so accepting must not block.
  client = listener.accept_nonblock(exception: false)
  next if client == :wait_readable

  client.puts "#{Time.now.strftime('%H:%M:%S')} from worker #{ENV['EINHORN_CHILD_INDEX']}, pid #{Process.pid}, " \
              "generation #{ENV['EINHORN_GENERATION']}"
  client.close
end

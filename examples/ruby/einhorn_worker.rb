# The worker's side of einhorn in 40 lines: who am I, which socket is mine, I am ready, tell me when to finish.
# Needs nothing but Ruby. The same calls are in the `einhorn` gem, which works here too.
require "json"
require "socket"

module EinhornWorker
  module_function

  # The master's pid must be our parent's: a program started by a worker inherits the variables but is no worker.
  def worker?
    ENV["EINHORN_MASTER_PID"].to_i == Process.ppid
  end

  # The nth `-b`, counted from 0.
  def listener(number = 0)
    TCPServer.for_fd(Integer(ENV.fetch("EINHORN_FD_#{number}")))
  end

  # Ready: from now on the master may retire an older worker. One line of JSON, no reply.
  def ack!
    send_line(command: "worker:ack", pid: Process.pid)
  end

  # A sign of life with a word of your own, seen in `einhornsh status`.
  def ping!(request_id)
    send_line(command: "worker:ping", pid: Process.pid, request_id: request_id)
  end

  # SIGUSR2 is einhorn's request to finish; SIGTERM and SIGINT are everybody else's. Returns an IO that becomes readable.
  def stop_requested
    reader, writer = IO.pipe
    %w[USR2 TERM INT].each { |signal| trap(signal) { writer.write_nonblock(".") } }
    reader
  end

  # With `-g` the master gives each worker a connection of its own, so that it need not reach the path.
  # A path that begins with "@" names an abstract socket: its first byte is zero.
  def send_line(request)
    master = if ENV["EINHORN_SOCK_FD"]
               UNIXSocket.for_fd(Integer(ENV["EINHORN_SOCK_FD"]))
             else
               UNIXSocket.open(ENV.fetch("EINHORN_SOCK_PATH").sub(/\A@/, "\0"))
             end
    master.puts(JSON.generate(request))
    master.close
  end
end

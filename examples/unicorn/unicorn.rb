require "json"
require "socket"

worker_processes 2
preload_app true

# Runs in each of unicorn's own workers, when the application has been loaded: the place for the ACK. einhorn takes it from
# the process that it started or from any descendant of it; the second one changes nothing.
after_fork do |_server, worker|
  next unless worker.nr.zero?

  UNIXSocket.open(ENV.fetch("EINHORN_SOCK_PATH").sub(/\A@/, "\0")) do |master|
    master.puts JSON.generate(command: "worker:ack", pid: Process.ppid)
  end
end

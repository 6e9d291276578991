# A server whose start is slow and whose data are large: loaded once per generation, shared by all workers.
require "io/wait"
require "socket"

# Stands for a framework, its eager-loaded classes, its caches: what is made here is made once, in the zygote.
INDEX = Random.urandom(Integer(ENV.fetch("INDEX_MIB", "50")) << 20)
IDLE_S = 5

# Serves one connection until the client closes it, is idle for too long, or we were told to finish.
def serve(client, stopping)
  while client.wait_readable(IDLE_S) && (request = client.gets)
    until ["\r\n", "\n", nil].include?(client.gets); end
    last = stopping.call || !request.include?("HTTP/1.1")
    body = "ruby generation=#{ENV['EINHORN_GENERATION']} pid=#{Process.pid} index=#{INDEX.bytesize}\n"
    client.write "HTTP/1.1 200 OK\r\nContent-Length: #{body.bytesize}\r\n" \
                 "Connection: #{last ? 'close' : 'keep-alive'}\r\n\r\n#{body}"
    break if last
  end
rescue SystemCallError, IOError
  # The client went away: its right.
ensure
  client.close
end

# READY=1 to the master (sd_notify(3)), which may retire an older worker from now on.
def ready
  manager = Socket.new(:UNIX, :DGRAM)
  manager.send("READY=1", 0, Socket.sockaddr_un(ENV.fetch("NOTIFY_SOCKET").sub(/\A@/, "\0")))
  manager.close
end

# One worker. Sockets, signal handlers, threads and connections to others begin here, never above.
def einhorn_main
  listener = TCPServer.for_fd(Integer(ENV.fetch("EINHORN_FD_0")))
  stop, told = IO.pipe
  %w[USR2 TERM].each { |signal| trap(signal) { told.write_nonblock(".") } }
  stopping = false
  threads = ThreadGroup.new
  ready
  until stopping
    readable, = IO.select([listener, stop])
    stopping = readable.include?(stop)
    next if stopping

    client = listener.accept_nonblock(exception: false)
    threads.add(Thread.new(client) { |mine| serve(mine, -> { stopping }) }) unless client == :wait_readable
  end
  listener.close
  threads.list.each(&:join)
end

einhorn_main if __FILE__ == $0 # executed: without -p, or where preloading was not possible

# A threaded HTTP server with keep-alive, in plain Ruby, as a worker of einhorn.
require_relative "einhorn_worker"

abort "Start me under einhorn: einhorn -m manual -b 127.0.0.1:8080 ruby server.rb" unless EinhornWorker.worker?

IDLE_S = 5

# Serves one connection until the client closes it, is idle for too long, or we were told to finish.
def serve(client, stopping)
  while client.wait_readable(IDLE_S) && (request = client.gets)
    until ["\r\n", "\n", nil].include?(client.gets); end
    last = stopping.call || request.start_with?("HEAD") || !request.include?("HTTP/1.1")
    body = "ruby generation=#{ENV['EINHORN_GENERATION']} slot=#{ENV['EINHORN_CHILD_INDEX']} pid=#{Process.pid}\n"
    client.write "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: #{body.bytesize}\r\n" \
                 "Connection: #{last ? 'close' : 'keep-alive'}\r\n\r\n#{body}"
    break if last
  end
rescue SystemCallError, IOError
  # The client went away: its right.
ensure
  client.close
end

listener = EinhornWorker.listener(0)
stop = EinhornWorker.stop_requested
stopping = false
threads = ThreadGroup.new

EinhornWorker.ack!

until stopping
  readable, = IO.select([listener, stop])
  stopping = readable.include?(stop)
  next if stopping

  client = listener.accept_nonblock(exception: false)
  threads.add(Thread.new(client) { |mine| serve(mine, -> { stopping }) }) unless client == :wait_readable
end

# Nothing new is accepted; what was begun is finished. A kept connection gets one more answer, with `Connection: close`.
listener.close
threads.list.each(&:join)

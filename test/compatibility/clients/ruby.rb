# Speaks as Ruby's Einhorn::Worker and Einhorn::Client do: YAML in, with "%" and line breaks percent-encoded, YAML out.
require 'json'
require 'socket'
require 'yaml'

raise 'not a worker' unless Process.ppid == ENV.fetch('EINHORN_MASTER_PID').to_i

ESCAPES = { '%' => '%25', "\n" => '%0A' }.freeze

def encode(message)
  "#{YAML.dump(message).gsub(/[%\n]/, ESCAPES)}\n"
end

def decode(line)
  YAML.safe_load(line.chomp.gsub(/%(25|0A)/) { |escape| ESCAPES.key(escape) }, permitted_classes: [Symbol])
end

socket = if ENV['EINHORN_SOCK_FD']
           UNIXSocket.for_fd(Integer(ENV['EINHORN_SOCK_FD']))
         else
           UNIXSocket.new(ENV.fetch('EINHORN_SOCK_PATH'))
         end

case ARGV.shift
when 'ack'
  socket.write(encode('command' => 'worker:ack', 'pid' => Process.pid))
  puts JSON.dump(socket.read) unless ENV['EINHORN_SOCK_FD']
when 'ping'
  socket.write(encode('command' => 'worker:ping', 'pid' => Process.pid, 'request_id' => 'a 1'))
  puts JSON.dump(socket.read)
when 'ask'
  socket.write(encode('id' => 7, 'command' => ARGV.shift, 'args' => ARGV))
  loop do
    reply = decode(socket.gets)
    # Upstream's `state` is YAML within YAML, with symbols for keys.
    reply['state'] = YAML.safe_load(reply['message'], permitted_classes: [Symbol, Time]).inspect if reply['message'].start_with?('---')
    puts JSON.dump(reply)
    break unless reply['wait']
  end
end

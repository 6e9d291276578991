// Speaks as go-einhorn does: block YAML, percent-encoded, `request_id`, and url.QueryUnescape over every reply; and as
// goji does: JSON as it is. Standard library only, so replies are read as JSON, which what einhorn sends is.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func dial() net.Conn {
	if fd := os.Getenv("EINHORN_SOCK_FD"); fd != "" {
		number, err := strconv.Atoi(fd)
		check(err)
		conn, err := net.FileConn(os.NewFile(uintptr(number), "einhorn"))
		check(err)
		return conn
	}
	conn, err := net.Dial("unix", os.Getenv("EINHORN_SOCK_PATH"))
	check(err)
	return conn
}

// The encoder ends the document with a line break of its own, hence the blank line after it.
func send(conn net.Conn, yaml string) {
	escaped := strings.NewReplacer("%", "%25", "\n", "%0A").Replace(yaml)
	_, err := fmt.Fprintf(conn, "%s\n\n", escaped)
	check(err)
}

func rest(conn net.Conn) {
	bytes, err := io.ReadAll(conn)
	check(err)
	quoted, _ := json.Marshal(string(bytes))
	fmt.Println(string(quoted))
}

func main() {
	if strconv.Itoa(os.Getppid()) != os.Getenv("EINHORN_MASTER_PID") {
		fmt.Fprintln(os.Stderr, "not a worker")
		os.Exit(1)
	}
	conn := dial()
	switch os.Args[1] {
	case "ack":
		send(conn, fmt.Sprintf("command: worker:ack\npid: %d\n", os.Getpid()))
		rest(conn)
	case "goji":
		_, err := fmt.Fprintf(conn, "{\"command\": \"worker:ack\", \"pid\": %d}\n", os.Getpid())
		check(err)
		rest(conn)
	case "ping":
		send(conn, fmt.Sprintf("command: worker:ping\npid: %d\nrequest_id: a 1\n", os.Getpid()))
		rest(conn)
	case "ask":
		args := ""
		for _, arg := range os.Args[3:] {
			args += fmt.Sprintf("- %q\n", arg)
		}
		send(conn, fmt.Sprintf("request_id: 7\ncommand: %s\nargs:\n%s", os.Args[2], args))
		for lines := bufio.NewReader(conn); ; {
			line, err := lines.ReadString('\n')
			check(err)
			text, err := url.QueryUnescape(line)
			check(err)
			var reply map[string]interface{}
			check(json.Unmarshal([]byte(text), &reply))
			again, _ := json.Marshal(reply)
			fmt.Println(string(again))
			if reply["wait"] != true {
				return
			}
		}
	}
}

// A net/http server as a worker of einhorn: the inherited socket, a manual ACK, Shutdown on SIGUSR2. Standard library only.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// listener returns the nth -b, counted from 0.
func listener(number int) (net.Listener, error) {
	fd, err := strconv.Atoi(os.Getenv(fmt.Sprintf("EINHORN_FD_%d", number)))
	if err != nil {
		return nil, fmt.Errorf("not started under einhorn: %w", err)
	}
	file := os.NewFile(uintptr(fd), "einhorn")
	defer file.Close() // FileListener works on a copy
	return net.FileListener(file)
}

// ack says that this worker is ready: from now on the master may retire an older one. One line of JSON, no reply.
func ack() error {
	master, err := net.Dial("unix", os.Getenv("EINHORN_SOCK_PATH"))
	if err != nil {
		return err
	}
	defer master.Close()
	_, err = fmt.Fprintf(master, "{\"command\":\"worker:ack\",\"pid\":%d}\n", os.Getpid())
	return err
}

func main() {
	// The master's pid must be our parent's: a program started by a worker inherits the variables but is no worker.
	if os.Getenv("EINHORN_MASTER_PID") != strconv.Itoa(os.Getppid()) {
		log.Fatal("Start me under einhorn: einhorn -m manual -b 127.0.0.1:8080 ./server")
	}
	socket, err := listener(0)
	if err != nil {
		log.Fatal(err)
	}
	// SIGUSR2 is einhorn's request to finish; SIGTERM and SIGINT are everybody else's.
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "go generation=%s slot=%s pid=%d\n",
				os.Getenv("EINHORN_GENERATION"), os.Getenv("EINHORN_CHILD_INDEX"), os.Getpid())
		}),
	}
	go func() {
		if err := server.Serve(socket); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	if err := ack(); err != nil {
		log.Fatal(err)
	}

	<-stop.Done()
	// Closes the listener and idle connections, and waits for the answers under way.
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}

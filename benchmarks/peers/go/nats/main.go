// NATS with its WebSocket listener, as a program that prints where it serves: nats
//
// It is its own broker: publishers come by its TCP port. No JetStream: core NATS keeps no history.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	options := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxConn: 100_000,
		Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: true},
	}
	nats, err := server.NewServer(options)
	if err != nil {
		log.Fatal(err)
	}
	go nats.Start()
	if !nats.ReadyForConnections(10 * time.Second) {
		log.Fatal("nats-server is not ready after 10 s")
	}
	fmt.Printf("publish on %s\n", nats.Addr())
	fmt.Printf("serves on %s\n", "http"+nats.WebsocketURL()[len("ws"):])
	wait()
	nats.Shutdown()
}

// wait returns when standard input ends, or on SIGTERM.
func wait() {
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ending <- syscall.SIGTERM
	}()
	<-ending
}

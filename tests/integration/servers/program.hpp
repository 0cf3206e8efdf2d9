// SPDX-License-Identifier: MIT
#pragma once

// A foreign server program, started on loopback for a test with a generated configuration.

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace tests {

/// A connection to a port on 127.0.0.1; reads line by line.
class Connection {
 public:
  explicit Connection(std::uint16_t port)
      : socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval const patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  Connection(Connection const&) = delete;
  Connection& operator=(Connection const&) = delete;
  ~Connection() { ::close(socket_); }

  [[nodiscard]] bool connected() const { return connected_; }
  void send(std::string_view text) const {
    while (!text.empty()) {
      auto const sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) throw std::runtime_error{"the server closed the connection"};
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// Without its end.
  std::string line() {
    auto end = buffer_.find("\r\n");
    for (; end == std::string::npos; end = buffer_.find("\r\n")) fill();
    auto const text = buffer_.substr(0, end);
    buffer_.erase(0, end + 2);
    return text;
  }
  std::string bytes(std::size_t count) {
    while (buffer_.size() < count) fill();
    auto const text = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return text;
  }

 private:
  void fill() {
    char part[16384];
    auto const got = ::recv(socket_, part, sizeof part, 0);
    if (got <= 0) throw std::runtime_error{"no answer from the server"};
    buffer_.append(part, static_cast<std::size_t>(got));
  }

  int socket_;
  bool connected_ = false;
  std::string buffer_;
};

/// A port on which no program listens at this moment.
inline std::uint16_t free_port() {
  int const probe = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(probe, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error{"no free port"};
  ::close(probe);
  return ntohs(address.sin_port);
}

/// A folder that goes with the test.
class Scratch {
 public:
  Scratch() {
    std::string name{"/tmp/poise-XXXXXX"};
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error{"no scratch folder"};
    path_ = name;
  }
  Scratch(Scratch const&) = delete;
  Scratch& operator=(Scratch const&) = delete;
  ~Scratch() {
    auto const remove = [](char const* path, struct stat const*, int, FTW*) {
      return std::remove(path);
    };
    ::nftw(path_.c_str(), remove, 8, FTW_DEPTH | FTW_PHYS);
  }
  [[nodiscard]] std::string path() const { return path_; }
  std::string write(std::string const& name, std::string const& text) const {
    std::ofstream{path_ + "/" + name} << text;
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

/// A running program that listens on `port`; ended with the object.
class Program {
 public:
  Program(std::vector<std::string> command, std::uint16_t port) {
    process_ = ::fork();
    if (process_ == 0) {
      std::vector<char*> arguments;
      for (auto& each : command) arguments.push_back(each.data());
      arguments.push_back(nullptr);
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    for (int tries = 0; tries < 500; ++tries) {
      if (Connection{port}.connected()) return;
      if (::waitpid(process_, nullptr, WNOHANG) == process_) break;
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    throw std::runtime_error{command[0] + " does not run: install it, see above for what it said"};
  }
  Program(Program const&) = delete;
  Program& operator=(Program const&) = delete;
  ~Program() {
    ::kill(process_, SIGCONT);
    ::kill(process_, SIGTERM);
    ::waitpid(process_, nullptr, 0);
  }
  /// SIGSTOP makes it hang, SIGCONT go on, SIGKILL end at once.
  void signal(int number) const {
    ::kill(process_, number);
    if (number == SIGSTOP) ::waitpid(process_, nullptr, WUNTRACED);  // it stops a little later
  }

 private:
  pid_t process_;
};

/// The value of a header in the answer that comes next.
inline std::string header_of_next_answer(Connection& connection, std::string const& wanted) {
  std::string value;
  std::size_t length = 0;
  for (auto line = connection.line(); !line.empty(); line = connection.line()) {
    auto const colon = line.find(": ");
    auto const name = line.substr(0, colon);
    if (name == wanted) value = line.substr(colon + 2);
    if (name == "Content-Length" || name == "content-length")
      length = std::stoul(line.substr(colon + 2));
  }
  connection.bytes(length);
  return value;
}

/// The value of a header in the answer to a GET, on a connection that stays.
inline std::string header_of_answer(Connection& connection, std::string const& target,
                                    std::string const& headers, std::string const& wanted) {
  connection.send("GET " + target + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n");
  return header_of_next_answer(connection, wanted);
}

}  // namespace tests

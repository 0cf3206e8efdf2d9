// SPDX-License-Identifier: MIT

#include "listener.hpp"

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <unistd.h>

#include <boost/asio/ip/address.hpp>
#include <boost/system/error_code.hpp>
#include <poise/error.hpp>

namespace gateway {

namespace {

using boost::asio::ip::tcp;

tcp::endpoint endpoint_of(std::string_view text) {
  auto const colon = text.rfind(':');
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  auto const digits = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  auto const [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  boost::system::error_code error;
  auto const address = boost::asio::ip::make_address(std::string{host}, error);
  if (error || wrong != std::errc{} || end != digits.data() + digits.size())
    throw poise::ConfigError{"can't listen on \"" + std::string{text} +
                             "\": use IP:PORT, such as 127.0.0.1:8080 or [::]:80"};
  return {address, port};
}

}  // namespace

Listener::Listener(std::string const& address) : endpoint_{endpoint_of(address)} {
  boost::system::error_code error;
  // NOLINTBEGIN(bugprone-unused-return-value): it is in `error`, too
  acceptor_.open(endpoint_.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address{true}, error);
  if (!error) acceptor_.bind(endpoint_, error);
  if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
  // NOLINTEND(bugprone-unused-return-value)
  if (error) throw poise::ConfigError{"can't listen on " + address + ": " + error.message()};
  endpoint_ = acceptor_.local_endpoint();
}

int Listener::duplicate() {
  auto const descriptor = ::dup(acceptor_.native_handle());
  if (descriptor < 0) throw std::system_error{errno, std::generic_category(), "dup"};
  return descriptor;
}

std::string Listener::address() const {
  auto const address = endpoint_.address().to_string();
  return (is_v6() ? '[' + address + ']' : address) + ':' + std::to_string(endpoint_.port());
}

void Listener::close() {
  boost::system::error_code ignored;
  // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
  acceptor_.close(ignored);
}

}  // namespace gateway

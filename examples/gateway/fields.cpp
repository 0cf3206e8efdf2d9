// SPDX-License-Identifier: MIT

#include "fields.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include <boost/beast/http/field.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/verb.hpp>

#include "message.hpp"

namespace gateway {

namespace {

using poise::config::ForwardedFields;
using poise::config::GatewaySettings;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view trimmed(std::string_view text) {
  auto const first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Calls fn with each part of a list; true as soon as one call was.
template <class Fn>
bool any_token(std::string_view list, Fn const& fn) {
  while (!list.empty()) {
    auto const end = std::min(list.find(','), list.size());
    if (fn(trimmed(list.substr(0, end)))) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

/// Fields that mean this connection, not the message.
bool is_hop_by_hop(http::field id) noexcept {
  using http::field;
  return id == field::connection || id == field::proxy_connection || id == field::keep_alive ||
         id == field::te || id == field::trailer || id == field::transfer_encoding ||
         id == field::upgrade || id == field::content_length;
}

bool is_named_by_connection(Head const& head, std::string_view name) {
  return std::ranges::any_of(head.fields, [&](Field const& each) {
    return each.id == http::field::connection &&
           any_token(each.value, [&](auto token) { return equal_ignoring_case(token, name); });
  });
}

constexpr std::array<std::string_view, 4> forwarded_names{"x-forwarded-for", "x-forwarded-proto",
                                                          "x-forwarded-host", "forwarded"};

bool is_forwarded(std::string_view name) {
  return std::ranges::any_of(forwarded_names,
                             [&](auto each) { return equal_ignoring_case(each, name); });
}

void add(std::string& text, std::string_view name, std::string_view value) {
  text.append(name).append(": ").append(value).append("\r\n");
}

void add_framing(std::string& text, Framing framing) {
  if (framing.kind == Framing::Kind::chunked) text += "Transfer-Encoding: chunked\r\n";
  if (framing.kind == Framing::Kind::length)
    add(text, "Content-Length", std::to_string(framing.length));
}

/// What a client said of itself, with a comma; empty unless it is trusted.
std::string said_before(Head const& head, std::string_view name, bool trusted) {
  std::string text;
  if (!trusted) return text;
  for (auto const& each : head.fields)
    if (equal_ignoring_case(each.name, name)) text.append(each.value).append(", ");
  return text;
}

void add_x_forwarded(std::string& text, Head const& head, Client const& client, bool trusted) {
  add(text, "X-Forwarded-For", said_before(head, "x-forwarded-for", trusted) + client.address);
  auto const once = [&](std::string_view name, std::string_view own) {
    auto before = said_before(head, name, trusted);
    if (before.empty()) return std::string{own};
    before.resize(before.size() - 2);
    return before;
  };
  add(text, "X-Forwarded-Proto", once("x-forwarded-proto", "http"));
  auto const host = once("x-forwarded-host", head[http::field::host]);
  if (!host.empty()) add(text, "X-Forwarded-Host", host);
}

void add_forwarded(std::string& text, Head const& head, Client const& client, bool trusted) {
  auto value = said_before(head, "forwarded", trusted);
  value += client.is_v6 ? "for=\"[" + client.address + "]\"" : "for=" + client.address;
  if (auto const host = head[http::field::host]; !host.empty())
    value.append(";host=\"").append(host).append("\"");
  add(text, "Forwarded", value + ";proto=http");
}

void add_client(std::string& text, Head const& head, Client const& client,
                GatewaySettings const& settings) {
  auto const kind = settings.forwarded;
  if (kind == ForwardedFields::x_forwarded || kind == ForwardedFields::both)
    add_x_forwarded(text, head, client, settings.trust_forwarded);
  if (kind == ForwardedFields::forwarded || kind == ForwardedFields::both)
    add_forwarded(text, head, client, settings.trust_forwarded);
}

/// All fields but those of the connection and those that `skips` names.
template <class Skips>
void add_end_to_end(std::string& text, Head const& head, Skips const& skips) {
  bool const names_some = head.count(http::field::connection) != 0;
  for (auto const& each : head.fields) {
    if (is_hop_by_hop(each.id) || skips(each)) continue;
    if (names_some && is_named_by_connection(head, each.name)) continue;
    add(text, each.name, each.value);
  }
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool is_like_a_set_field(std::string_view name) {
  std::string plain{name};
  std::ranges::replace(plain, '_', '-');
  return is_forwarded(plain) || equal_ignoring_case(plain, "content-length") ||
         equal_ignoring_case(plain, "transfer-encoding");
}

std::string request_head(Head const& head, Framing framing, Client const& client,
                         std::string_view backend, GatewaySettings const& settings,
                         std::string_view via, std::string_view upgrade) {
  std::string text;
  text.reserve(head.raw.size() + 256);
  text.append(head.method).append(" ").append(head.target).append(" HTTP/1.1\r\n");
  auto const host = head[http::field::host];
  add(text, "Host", host.empty() ? backend : host);
  bool const replaces = settings.forwarded != ForwardedFields::none || !settings.trust_forwarded;
  add_end_to_end(text, head, [&](Field const& each) {
    if (each.id == http::field::host || each.id == http::field::expect) return true;
    return replaces && is_forwarded(each.name);
  });
  add_client(text, head, client, settings);
  add(text, "Via", (head.version >= 11 ? "1.1 " : "1.0 ") + std::string{via});
  add_framing(text, framing);
  if (!upgrade.empty()) {
    add(text, "Connection", "upgrade");
    add(text, "Upgrade", upgrade);
  }
  return text += "\r\n";
}

std::string response_head(Head const& head, Framing framing, Persistence persistence,
                          unsigned client_version) {
  std::string text;
  text.reserve(head.raw.size() + 128);
  text.append("HTTP/1.1 ").append(std::to_string(head.status)).append(" ").append(head.reason);
  text += "\r\n";
  add_end_to_end(text, head, [](Field const&) { return false; });
  add_framing(text, framing);
  if (persistence == Persistence::upgrade) {
    add(text, "Connection", "upgrade");
    add(text, "Upgrade", head[http::field::upgrade]);
  } else if (persistence == Persistence::close) {
    text += "Connection: close\r\n";
  } else if (client_version < 11) {
    text += "Connection: keep-alive\r\n";
  }
  return text += "\r\n";
}

std::string own_response(unsigned status, std::string_view text, bool keep_alive, bool head_only,
                         long retry_after) {
  auto const reason = http::obsolete_reason(static_cast<http::status>(status));
  std::string response = "HTTP/1.1 " + std::to_string(status) + ' ';
  response.append(reason.data(), reason.size()).append("\r\nContent-Type: text/plain\r\n");
  add(response, "Content-Length", std::to_string(text.size() + 1));
  if (retry_after > 0) add(response, "Retry-After", std::to_string(retry_after));
  response += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
  if (!head_only) response.append(text).append("\n");
  return response;
}

std::string_view upgrade_of(Head const& head) {
  auto const wanted = head[http::field::upgrade];
  bool const asks = head.version >= 11 && head.count(http::field::upgrade) == 1 &&
                    equal_ignoring_case(wanted, "websocket") &&
                    is_named_by_connection(head, "upgrade");
  return asks ? wanted : std::string_view{};
}

}  // namespace gateway

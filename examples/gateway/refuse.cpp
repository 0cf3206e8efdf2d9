// SPDX-License-Identifier: MIT

#include "refuse.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>

#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <poise/base/ascii.hpp>

#include "fields.hpp"
#include "message.hpp"
#include "net.hpp"

namespace gateway {

namespace {

using Verdict = std::optional<Refusal>;

Verdict bad(std::string_view why) { return Refusal{400, why}; }

Verdict verdict_on_target(Head const& head) {
  if (head.verb == http::verb::connect || head.verb == http::verb::trace)
    return Refusal{405, "this method is not allowed here"};
  bool const is_asterisk = head.target == "*" && head.verb == http::verb::options;
  if (!head.target.starts_with('/') && !is_asterisk) return bad("the target must begin with /");
  if (head.target.find('#') != std::string_view::npos)
    return bad("the target must have no fragment");
  return std::nullopt;
}

bool is_host(std::string_view text) {
  constexpr std::string_view others = "-._~!$&'()*+;=%:[]";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return poise::detail::is_letter_or_digit(c) || others.find(c) != std::string_view::npos;
  });
}

/// The name and the port may look like this: "[::1]:80", "a.b:80".
bool is_host_and_port(std::string_view text) {
  if (!is_host(text)) return false;
  auto const end = text.starts_with('[') ? text.find(']') : text.find(':');
  auto const name = text.substr(0, end);
  if (text.starts_with('[') && end == std::string_view::npos) return false;
  if (name.empty() || name.substr(1).find('[') != std::string_view::npos) return false;
  auto rest = end == std::string_view::npos ? std::string_view{} : text.substr(end);
  if (rest.starts_with(']')) rest.remove_prefix(1);
  if (rest.empty()) return true;
  auto const port = rest.substr(1);
  return rest.starts_with(':') && port.size() <= 5 &&
         port.find_first_not_of("0123456789") == std::string_view::npos;
}

Verdict verdict_on_host(Head const& head) {
  auto const hosts = head.count(http::field::host);
  if (hosts > 1) return bad("there must be one Host");
  if (hosts == 0 && head.version >= 11) return bad("there must be a Host");
  if (hosts == 1 && !is_host_and_port(head[http::field::host])) return bad("this is no Host");
  return std::nullopt;
}

Verdict verdict_on_framing(Head const& head) {
  auto const lengths = head.count(http::field::content_length);
  auto const codings = head.count(http::field::transfer_encoding);
  if (lengths > 1) return bad("there must be one Content-Length");
  if (lengths == 1 &&
      head[http::field::content_length].find_first_not_of("0123456789") != std::string_view::npos)
    return bad("this is no Content-Length");
  if (codings == 0) return std::nullopt;
  if (lengths != 0) return bad("Content-Length and Transfer-Encoding exclude each other");
  if (head.version < 11) return bad("Transfer-Encoding needs HTTP/1.1");
  if (codings > 1) return bad("there must be one Transfer-Encoding");
  if (!equal_ignoring_case(head[http::field::transfer_encoding], "chunked"))
    return Refusal{501, "the only Transfer-Encoding is chunked"};
  return std::nullopt;
}

Verdict verdict_on_expectation(Head const& head) {
  auto const wanted = head[http::field::expect];
  if (wanted.empty() || equal_ignoring_case(wanted, "100-continue")) return std::nullopt;
  return Refusal{417, "the only expectation is 100-continue"};
}

/// A look at each field for each token of Connection must stay cheap.
Verdict verdict_on_number(Head const& head) {
  constexpr std::size_t max_fields = 200;
  if (head.fields.size() > max_fields) return Refusal{431, "there are too many fields"};
  return std::nullopt;
}

/// Some servers take such a name for that of a field that a gateway sets.
Verdict verdict_on_names(Head const& head) {
  for (auto const& field : head.fields)
    if (field.name.find('_') != std::string_view::npos && is_like_a_set_field(field.name))
      return bad("a field has _ in its name for -");
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> refusal_of(Head const& head) {
  for (auto const verdict : {verdict_on_number, verdict_on_target, verdict_on_host,
                             verdict_on_framing, verdict_on_expectation, verdict_on_names})
    if (auto const refusal = verdict(head)) return refusal;
  return std::nullopt;
}

std::optional<Refusal> refusal_of(Error error) {
  if (error == net::error::timed_out) return Refusal{408, "the request took too long"};
  if (error == http::error::header_limit) return Refusal{431, "the header is too long"};
  if (error == http::error::body_limit) return Refusal{413, "the body is too long"};
  if (error == http::error::bad_version) return Refusal{505, "use HTTP/1.1"};
  if (error == http::error::bad_line_ending) return bad("a line must end in CR LF");
  if (error == http::error::bad_obs_fold) return bad("a field must stand in one line");
  if (error == http::error::bad_chunk_extension) return bad("chunk extensions are not taken");
  if (error == http::error::partial_message) return std::nullopt;
  if (error == net::error::no_buffer_space) return bad("the line of a chunk is too long");
  if (error.category() == make_error_code(http::error::bad_method).category())
    return bad("this is no request of HTTP");
  return std::nullopt;
}

}  // namespace gateway

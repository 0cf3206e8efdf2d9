// SPDX-License-Identifier: MIT
// The words of the library: endpoints, outcomes, requests, errors and time.

#include <poise/endpoint.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>
#include <poise/version.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "support/catch.hpp"
#include "support/text.hpp"

namespace unit_vocabulary {

using namespace std::chrono_literals;
using poise::Outcome;
using poise::Result;

// -- endpoint
// ----------------------------------------------------------------------------------------

TEST_CASE("two strings are two backends") {
  auto const both = poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"});
  REQUIRE(both.size() == 2);
  CHECK(both[0].address == "10.0.0.1:80");
  CHECK(both[1].address == "10.0.0.2:80");
  CHECK(both[1].id == "10.0.0.2:80");
  CHECK(both[1].weight == 1);
}

TEST_CASE("endpoints come from any range of strings") {
  std::vector<std::string> const strings{"a", "b", "c"};
  CHECK(poise::endpoints(strings).size() == 3);
  std::array<std::string_view, 2> const views{"a", "b"};
  CHECK(poise::endpoints(views)[1].id == "b");
}

TEST_CASE("no strings are no endpoints") { CHECK(poise::endpoints({}).empty()); }

TEST_CASE("a change of weight alone leaves an endpoint the same backend") {
  poise::Endpoint const before{
      .id = "a", .address = "x:1", .zone = "z", .tier = 1, .labels = {{"k", "v"}}};
  auto after = before;
  after.weight = 9;
  CHECK(poise::detail::same_identity(before, after));
}

TEST_CASE("a change of address or zone or tier or labels makes another backend") {
  poise::Endpoint const before{.id = "a", .address = "x:1"};
  CHECK_FALSE(poise::detail::same_identity(before, {.id = "a", .address = "x:2"}));
  CHECK_FALSE(poise::detail::same_identity(before, {.id = "a", .address = "x:1", .zone = "z"}));
  CHECK_FALSE(poise::detail::same_identity(before, {.id = "a", .address = "x:1", .tier = 1}));
  CHECK_FALSE(
      poise::detail::same_identity(before, {.id = "a", .address = "x:1", .labels = {{"k", ""}}}));
}

// -- outcome
// -----------------------------------------------------------------------------------------

TEST_CASE("only endings that speak against the backend are failures") {
  std::vector<Result> failures;
  for (std::size_t i = 0; i < poise::result_count; ++i)
    if (is_failure(static_cast<Result>(i))) failures.push_back(static_cast<Result>(i));
  CHECK(failures == std::vector{Result::refused, Result::connect_timeout, Result::timeout,
                                Result::reset, Result::error, Result::overloaded});
}

TEST_CASE("a set of results contains added ones and no removed ones") {
  using poise::ResultSet;
  for (std::size_t i = 0; i < poise::result_count; ++i) {
    auto const result = static_cast<Result>(i);
    CAPTURE(name(result));
    CHECK(poise::failures.contains(result) == is_failure(result));
    CHECK_FALSE(ResultSet{}.contains(result));
    CHECK(ResultSet{result}.contains(result));
    CHECK(ResultSet{}.with(result) == ResultSet{result});
    CHECK_FALSE(poise::failures.without(result).contains(result));
  }
  STATIC_REQUIRE(ResultSet{Result::reset, Result::error}.without(Result::reset) ==
                 ResultSet{Result::error});
  STATIC_REQUIRE(poise::do_not_retry < poise::Duration::zero());
}

TEST_CASE("what the caller did wrong or gave up says nothing about the backend") {
  CHECK_FALSE(is_verdict(Result::rejected));
  CHECK_FALSE(is_verdict(Result::cancelled));
  CHECK_FALSE(is_verdict(Result::abandoned));
  CHECK(is_verdict(Result::success));
}

TEST_CASE("every ending has a name of its own") {
  CHECK(name(Result::success) == "success");
  CHECK(name(Result::connect_timeout) == "connect timeout");
  CHECK(name(Result::abandoned) == "abandoned");
  CHECK(name(static_cast<Result>(200)) == "unknown ending");
}

TEST_CASE("nothing was sent if no connection came about") {
  CHECK_FALSE(Outcome{Result::refused}.sent);
  CHECK_FALSE(Outcome{Result::connect_timeout}.sent);
  CHECK(Outcome{Result::timeout}.sent);
  CHECK(Outcome{Result::reset}.sent);
  CHECK_FALSE(Outcome{Result::reset, false}.sent);
}

TEST_CASE("error codes become endings") {
  auto const result = [](std::errc code) {
    return poise::outcome_of(std::make_error_code(code)).result;
  };
  CHECK(poise::outcome_of(std::error_code{}).result == Result::success);
  CHECK(result(std::errc::connection_refused) == Result::refused);
  CHECK(result(std::errc::host_unreachable) == Result::refused);
  CHECK(result(std::errc::network_unreachable) == Result::refused);
  CHECK(result(std::errc::no_such_file_or_directory) == Result::refused);
  CHECK(result(std::errc::timed_out) == Result::timeout);
  CHECK(result(std::errc::connection_reset) == Result::reset);
  CHECK(result(std::errc::broken_pipe) == Result::reset);
  CHECK(result(std::errc::operation_canceled) == Result::cancelled);
  CHECK(result(std::errc::invalid_argument) == Result::rejected);
  CHECK(result(std::errc::io_error) == Result::error);
}

TEST_CASE("an error of the client itself is no verdict, and nothing was sent") {
  for (auto const code :
       {std::errc::too_many_files_open, std::errc::too_many_files_open_in_system,
        std::errc::address_not_available, std::errc::no_buffer_space, std::errc::not_enough_memory})
    for (auto const& error : {std::make_error_code(code),
                              std::error_code{static_cast<int>(code), std::system_category()}}) {
      auto const thrown = std::make_exception_ptr(std::system_error{error});
      for (auto const outcome : {poise::outcome_of(error), poise::outcome_of(thrown)}) {
        CHECK_FALSE(is_verdict(outcome.result));
        CHECK_FALSE(outcome.sent);
      }
      CHECK(poise::is_local_failure(error));
    }
  CHECK_FALSE(poise::is_local_failure({}));
  CHECK_FALSE(poise::is_local_failure(std::make_error_code(std::errc::connection_refused)));
}

TEST_CASE("an invalid HTTP status is an error") {
  for (int const status : {0, -1, 99, 600, 999})
    CHECK(poise::outcome_of_http(status).result == Result::error);
}

TEST_CASE("the system's own error codes mean the same as the portable ones") {
  CHECK(poise::outcome_of(std::error_code{ECONNREFUSED, std::system_category()}).result ==
        Result::refused);
}

TEST_CASE("an exception is a failure and a system error keeps its meaning") {
  auto const of = [](auto const& error) {
    return poise::outcome_of(std::make_exception_ptr(error)).result;
  };
  CHECK(of(std::runtime_error{"broken"}) == Result::error);
  CHECK(of(42) == Result::error);
  CHECK(of(std::system_error{std::make_error_code(std::errc::connection_refused)}) ==
        Result::refused);
}

TEST_CASE("a system error without an error is an error all the same") {
  auto const thrown = std::make_exception_ptr(std::system_error{std::error_code{}});
  CHECK(poise::outcome_of(thrown).result == Result::error);
}

// -- request
// -----------------------------------------------------------------------------------------

TEST_CASE("the key is the route else the client else the request") {
  CHECK(poise::Request{.id = "r", .client_id = "c", .route_key = "k"}.key() == "k");
  CHECK(poise::Request{.id = "r", .client_id = "c"}.key() == "c");
  CHECK(poise::Request{.id = "r"}.key() == "r");
  CHECK(poise::Request{}.key().empty());
}

TEST_CASE("of more than eight exclusions all count") {
  std::vector<std::uint64_t> const tried{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  poise::Request const request{.excluded = tried};
  CHECK(poise::excludes(request, 1));
  CHECK(poise::excludes(request, 2));
  for (std::uint64_t serial = 3; serial <= 10; ++serial) CHECK(poise::excludes(request, serial));
}

TEST_CASE("an empty list of exclusions excludes no backend") {
  CHECK_FALSE(poise::excludes(poise::any_request, 0));
}

// -- error
// -------------------------------------------------------------------------------------------

TEST_CASE("an error says how many backends are out and why") {
  poise::Error const error{.reason = poise::PickError::unavailable, .drained = 2, .unhealthy = 3};
  CHECK(message(error) == "5 backends: 2 drained, 3 unhealthy");
}

TEST_CASE("an error speaks of one backend in the singular") {
  CHECK(message(poise::Error{.reason = poise::PickError::unavailable, .refused = 1}) ==
        "1 backend: 1 at a limit or filtered out");
}

TEST_CASE("an error of each other reason says what to do") {
  CHECK(tests::mentions(message(poise::Error{.reason = poise::PickError::empty}), "add"));
  CHECK(tests::mentions(message(poise::Error{.reason = poise::PickError::closed}), "moved from"));
  CHECK(message(poise::Error{}) == "no error (the lease was finished, released or moved from)");
}

TEST_CASE("control characters of hostile texts are shown and not sent to the terminal") {
  CHECK(poise::detail::in_quotes("a\nb\x1b[31m") == R"("a\x0ab\x1b[31m")");
  CHECK(poise::detail::in_quotes(R"(a"b\c)") == R"("a\"b\\c")");
  CHECK(poise::detail::in_quotes(std::string_view{"\0\x7f", 2}) == R"("\x00\x7f")");
}

TEST_CASE("characters that turn the direction of text are shown and turn nothing") {
  CHECK(poise::detail::in_quotes("a\u202eb") == R"("a\u202eb")");
  std::string_view const all =
      "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069";
  CHECK(poise::detail::escaped(all) ==
        R"(\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069)");
  for (std::string_view const other : {"\u05d0", "\u061b", "\u200d", "\u2010", "\u2029", "\u202f",
                                       "\u2065", "\u206a", "\xe2", "\xe2\x80"})
    CHECK(poise::detail::escaped(other) == other);
}

TEST_CASE("very long texts are cut in messages") {
  auto const text = poise::detail::in_quotes(std::string(10'000, 'x'));
  CHECK(text.size() < 100);
  CHECK(tests::mentions(text, "..."));
}

// -- time
// --------------------------------------------------------------------------------------------

TEST_CASE("virtual time moves only by advance, set and sleep") {
  poise::VirtualClock const clock;
  auto const before = clock.now();
  CHECK(clock.now() == before);
  clock.advance(5s);
  CHECK(clock.now() - before == 5s);
  clock.sleep(1s);
  CHECK(clock.now() - before == 6s);
}

TEST_CASE("virtual time may be set back") {
  poise::VirtualClock const clock;
  clock.set(poise::Time{10s});
  clock.set(poise::Time{-3s});
  CHECK(clock.now() == poise::Time{-3s});
}

TEST_CASE("copies of a virtual clock show the same time") {
  poise::VirtualClock const clock;
  auto const copy = clock;
  clock.advance(1s);
  CHECK(copy.now() == clock.now());
}

TEST_CASE("real time does not run backwards") {
  poise::SteadyClock const clock;
  auto const before = clock.now();
  CHECK(clock.now() >= before);
}

TEST_CASE("versions compare") {
  static_assert(poise::version >= poise::Version{0, 1, 0});
  CHECK(poise::version < poise::Version{1'000, 0, 0});
}

}  // namespace unit_vocabulary

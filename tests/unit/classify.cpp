// SPDX-License-Identifier: MIT
// How a call's reply becomes an outcome. Replies that are refused: tests/compile_fail/reply_*.cpp.

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/classify.hpp>
#include <poise/compose/retry.hpp>
#include <poise/policy/power_of_two.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_classify {

using namespace std::chrono_literals;
using poise::Outcome;
using poise::Result;
using poise::detail::classify;
using poise::detail::may_report_failure;
using tests::letters;
using tests::servers;
using tests::stats_of;

/// A C library's codes: their namespace is the global one.
enum LibraryCode { library_ok, library_refused };

namespace shop {

/// A reply type with an opinion of its own.
struct Reply {
  int status;
};
Outcome outcome_of(Reply const& reply) {
  if (reply.status == 429) return {Result::overloaded, true, 3s};
  return reply.status >= 500 ? Result::error : Result::success;
}

}  // namespace shop

namespace library {

/// A class of another library: empty, or with a status.
class Result {
 public:
  Result() = default;
  explicit Result(int status) : status_{status} {}
  explicit operator bool() const { return status_.has_value(); }
  [[nodiscard]] int status() const { return *status_; }

 private:
  std::optional<int> status_{};
};

template <class E>
struct Expected {
  std::optional<E> failure{};
  [[nodiscard]] bool has_value() const { return !failure; }
  [[nodiscard]] E const& error() const { return *failure; }
};

}  // namespace library

TEST_CASE("replies are classified by their own outcome_of") {
  CHECK(classify(shop::Reply{200}) == Outcome{Result::success});
  CHECK(classify(shop::Reply{503}) == Outcome{Result::error});
  CHECK(classify(shop::Reply{429}).retry_after == 3s);
  CHECK(classify(Outcome{Result::reset}) == Outcome{Result::reset});
  CHECK(classify(std::make_error_code(std::errc::timed_out)) == Outcome{Result::timeout});
}

TEST_CASE("a plain value is a success, also an empty one") {
  CHECK(classify(std::string{}) == Outcome{Result::success});
  CHECK(classify(std::vector<int>{}) == Outcome{Result::success});
}

TEST_CASE("an expected value succeeds and an unexpected one says why") {
  CHECK(classify(library::Expected<std::string>{}) == Outcome{Result::success});
  CHECK(classify(library::Expected<std::string>{"broken"}) == Outcome{Result::error});
  CHECK(classify(library::Expected<std::error_code>{
            std::make_error_code(std::errc::connection_refused)}) == Outcome{Result::refused});
}

TEST_CASE("types that may report a failure are known, and plain ones are not taken for such") {
  struct Row {
    int id;
    std::string text;
  };
  CHECK(may_report_failure<int>);
  CHECK(may_report_failure<bool>);
  CHECK(may_report_failure<double>);
  CHECK(may_report_failure<LibraryCode>);
  CHECK(may_report_failure<char const*>);
  CHECK(may_report_failure<std::optional<Row>>);
  CHECK(may_report_failure<library::Result>);
  CHECK(may_report_failure<std::pair<std::error_code, Row>>);
  CHECK(may_report_failure<std::tuple<Row, int>>);
  CHECK_FALSE(may_report_failure<Row>);
  CHECK_FALSE(may_report_failure<std::string>);
  CHECK_FALSE(may_report_failure<std::vector<int>>);
  CHECK_FALSE(may_report_failure<std::pair<Row, std::string>>);
}

TEST_CASE("a status of HTTP is classified by outcome_of_http") {
  auto balancer = servers(letters("a"));
  for (int const status : {200, 404, 429, 500, 0, -1, 99})
    CHECK(balancer.call(poise::classified_by(poise::outcome_of_http,
                                             [&](auto&) { return status; })) == status);
  auto const stats = stats_of(balancer, "a");
  CHECK(stats.ended(Result::success) == 1);
  CHECK(stats.ended(Result::rejected) == 1);
  CHECK(stats.ended(Result::overloaded) == 1);
  CHECK(stats.ended(Result::error) == 4);
}

TEST_CASE("codes and classes of other libraries are classified without touching their namespace") {
  auto balancer = servers(letters("a"));
  auto const of_code = [](LibraryCode code) {
    return code == library_ok ? Result::success : Result::refused;
  };
  balancer.call(poise::classified_by(of_code, [](auto&) { return library_refused; }));
  CHECK(stats_of(balancer, "a").ended(Result::refused) == 1);

  auto const of_result = [](library::Result const& result) {
    return result ? poise::outcome_of_http(result.status()) : Outcome{Result::reset};
  };
  auto fetch = poise::classified_by(of_result, [](auto&) { return library::Result{}; });
  balancer.call(fetch);
  balancer.call({.client_id = "c"}, fetch);
  balancer.call(poise::classified_by(of_result, [](auto&) { return library::Result{200}; }));
  CHECK(stats_of(balancer, "a").ended(Result::reset) == 2);
  CHECK(stats_of(balancer, "a").ended(Result::success) == 1);
}

namespace {

Result of_code(LibraryCode code) { return code == library_ok ? Result::success : Result::refused; }
Outcome of_result(library::Result const& result) {
  return result ? poise::outcome_of_http(result.status()) : Outcome{Result::reset};
}
Result of_reply(shop::Reply const& reply) {
  return reply.status == 500 ? Result::timeout : Result::success;
}
Result of_number(int status) { return status < 0 ? Result::error : Result::success; }

template <class... Observers>
auto servers_with() {
  return poise::Balancer<poise::P2C, void, poise::Runtime<poise::SteadyClock, Observers...>>{
      letters("a")};
}

}  // namespace

TEST_CASE("classifiers in the runtime hold for all calls, each for replies of its type") {
  auto balancer = servers_with<poise::ClassifyBy<of_code, of_result, poise::outcome_of_http>>();
  CHECK(balancer.call([](auto&) { return library_refused; }) == library_refused);
  balancer.call([](auto&) { return library::Result{}; });
  balancer.call({.client_id = "c"}, [](auto&) { return 503; });
  balancer.call([](auto&) { return std::string{"plain"}; });
  balancer.call([](auto&) {});
  auto const stats = stats_of(balancer, "a");
  CHECK(stats.ended(Result::refused) == 1);
  CHECK(stats.ended(Result::reset) == 1);
  CHECK(stats.ended(Result::overloaded) == 1);
  CHECK(stats.ended(Result::success) == 2);
}

TEST_CASE("a classifier of the call goes before the runtime's, and that before outcome_of") {
  auto balancer = servers_with<poise::ClassifyBy<of_reply>>();
  auto const fail = [](auto&) { return shop::Reply{500}; };
  balancer.call(fail);
  CHECK(stats_of(balancer, "a").ended(Result::timeout) == 1);
  balancer.call(poise::every_return_succeeds(fail));
  CHECK(stats_of(balancer, "a").ended(Result::success) == 1);
}

TEST_CASE("a runtime may list several sets of classifiers among its observers") {
  auto balancer = servers_with<poise::ClassifyBy<of_code>, poise::MeasureLatency,
                               poise::ClassifyBy<of_number>>();
  balancer.call([](auto&) { return library_refused; });
  balancer.call([](auto&) { return -1; });
  CHECK(stats_of(balancer, "a").ended(Result::refused) == 1);
  CHECK(stats_of(balancer, "a").ended(Result::error) == 1);
}

TEST_CASE("retries and the request of an attempt reach a function with a classifier") {
  poise::Balancer<poise::Retry<poise::P2C>> balancer{
      poise::endpoints({"a", "b"}), {{.attempts = 2, .base_pause = 0s, .max_pause = 0s}}};
  auto const status = balancer.call(poise::classified_by(
      poise::outcome_of_http,
      [](auto&, poise::Request const& request) { return request.attempt == 1 ? 502 : 201; }));
  CHECK(status == 201);
}

TEST_CASE("every return is a success where that is said, and an exception is none") {
  auto balancer = servers(letters("a"));
  CHECK_FALSE(balancer.call(poise::every_return_succeeds([](auto&) { return false; })));
  CHECK_THROWS(balancer.call(
      poise::every_return_succeeds([](auto&) -> int { throw std::runtime_error{"lost"}; })));
  CHECK(stats_of(balancer, "a").ended(Result::success) == 1);
  CHECK(stats_of(balancer, "a").failed == 1);
}

}  // namespace unit_classify

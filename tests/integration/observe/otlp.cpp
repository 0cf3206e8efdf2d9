// SPDX-License-Identifier: MIT
// OTLP on its way: a page is fetched and sent on with curl, and a receiver reads what came.

#include <poise/observe/otlp.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>
#include <poise/status/server.hpp>

#include "support/catch.hpp"

namespace integration_observe_otlp {

namespace {

using namespace std::chrono_literals;
using namespace poise;
using boost::asio::ip::tcp;
namespace http = boost::beast::http;
using Json = nlohmann::json;
using Message = http::request<http::string_body>;

/// A collector: takes one message.
class Collector {
 public:
  [[nodiscard]] std::string url() const {
    return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + "/v1/metrics";
  }
  [[nodiscard]] Message receive() {
    auto socket = acceptor_.accept();
    boost::beast::flat_buffer buffer;
    http::request_parser<http::string_body> parser;
    parser.body_limit(std::uint64_t{64} << 20U);
    http::read(socket, buffer, parser);
    http::response<http::string_body> answer{http::status::ok, 11, "{}"};
    answer.prepare_payload();
    http::write(socket, answer);
    return parser.release();
  }

 private:
  boost::asio::io_context context_;
  tcp::acceptor acceptor_{context_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
};

/// The data points of all metrics, by name, as a receiver sorts them.
std::map<std::string, Json> metrics_of(Json const& message) {
  std::map<std::string, Json> all;
  for (auto const& metric :
       message.at("resourceMetrics").at(0).at("scopeMetrics").at(0).at("metrics"))
    REQUIRE(all.emplace(metric.at("name"), metric).second);  // each once
  return all;
}
std::string attribute(Json const& point, std::string const& key) {
  for (auto const& each : point.at("attributes"))
    if (each.at("key") == key) return each.at("value").at("stringValue");
  return {};
}
std::uint64_t number(Json const& text) { return std::stoull(text.get<std::string>()); }

}  // namespace

TEST_CASE("a collector receives what curl sends on", "[servers]") {
  using Measured = Runtime<SteadyClock, observe::Meter<>>;
  Balancer<RoundRobin, void, Measured> servers{endpoints({"a:1", "b\"<:2"})};
  for (int i = 0; i < 300; ++i)
    servers.pick().finish(i % 3 == 0 ? Result::timeout : Result::success);
  observe::Handler handler;
  add_otlp(handler,
           {.readers = {std::make_shared<observe::Reader>(
                "orders", servers, observe::ReaderOptions{.histograms = true})}},
           {.service = "shop"});
  status::Server const server{std::move(handler)};
  Collector collector;
  auto received = std::async(std::launch::async, [&] { return collector.receive(); });
  auto const command = "curl -sSf " + server.url() +
                       "otlp | curl -sSf -o /dev/null -H Content-Type:application/json "
                       "--data-binary @- " +
                       collector.url();
  REQUIRE(std::system(command.c_str()) == 0);
  auto const message = received.get();
  CHECK(message.method() == http::verb::post);
  auto const all = metrics_of(Json::parse(message.body()));

  std::uint64_t requests = 0;
  for (auto const& point : all.at("poise_requests").at("sum").at("dataPoints")) {
    CHECK(attribute(point, "balancer") == "orders");
    if (attribute(point, "outcome") == "timeout") CHECK(number(point.at("asInt")) == 100);
    requests += number(point.at("asInt"));
  }
  CHECK(requests == 300);

  for (auto const* name :
       {"poise_attempt_duration_seconds", "poise_backend_attempt_latency_seconds"}) {
    auto const& told = all.at(name).at("histogram");
    CHECK(told.at("aggregationTemporality") == 2);
    CHECK(all.at(name).at("unit") == "s");
    for (auto const& point : told.at("dataPoints")) {
      std::uint64_t sum = 0;
      for (auto const& count : point.at("bucketCounts")) sum += number(count);
      CHECK(sum == number(point.at("count")));
      CHECK(sum == (attribute(point, "backend").empty() ? 300 : 150));
      auto const bounds = point.at("explicitBounds").get<std::vector<double>>();
      CHECK(bounds.size() + 1 == point.at("bucketCounts").size());
      CHECK(std::ranges::is_sorted(bounds, std::less_equal{}));
      CHECK(number(point.at("startTimeUnixNano")) <= number(point.at("timeUnixNano")));
    }
  }
}

}  // namespace integration_observe_otlp

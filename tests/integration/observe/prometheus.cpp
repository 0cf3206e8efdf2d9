// SPDX-License-Identifier: MIT
// examples/status under the eyes of others: promtool, the OpenMetrics parser of Prometheus' Python
// client, and a real Prometheus, whose answers are compared with what was scraped beside it.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "integration/servers/program.hpp"
#include "support/catch.hpp"
#include "support/exposition.hpp"

namespace integration_observe_prometheus {

namespace {

using namespace std::chrono_literals;
using tests::Connection;

std::string fetch(std::uint16_t port, std::string const& target,
                  std::string const& accept = "*/*") {
  Connection connection{port};
  connection.send("GET " + target +
                  " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: " + accept +
                  "\r\n\r\n");
  std::size_t length = 0;
  for (auto line = connection.line(); !line.empty(); line = connection.line())
    if (line.starts_with("Content-Length: ")) length = std::stoul(line.substr(16));
  return connection.bytes(length);
}

class Status {
 public:
  explicit Status(std::vector<std::string> const& options = {})
      : program_{command(port_, options), port_} {}
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string metrics(std::string const& accept = "*/*") const {
    return fetch(port_, "/metrics", accept);
  }

 private:
  static std::vector<std::string> command(std::uint16_t port, std::vector<std::string> options) {
    options.insert(options.begin(), {POISE_TEST_STATUS, "--port", std::to_string(port)});
    return options;
  }
  std::uint16_t port_ = tests::free_port();
  tests::Program program_;
};

int run(std::string const& command) { return std::system(command.c_str()); }

std::string escaped_for_url(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string result;
  for (char const letter : text) {
    auto const byte = static_cast<unsigned char>(letter);
    result += '%';
    result += digits[byte >> 4U];
    result += digits[byte & 15U];
  }
  return result;
}

class Prometheus {
 public:
  explicit Prometheus(std::uint16_t target)
      : program_{{"prometheus", "--config.file=" + config(target),
                  "--storage.tsdb.path=" + folder_.path() + "/data",
                  "--web.listen-address=127.0.0.1:" + std::to_string(port_), "--log.level=warn"},
                 port_} {}

  /// What it answers, as JSON. It closes the connection after the answer's length is known.
  [[nodiscard]] std::string ask(std::string_view query) const {
    return fetch_all("/api/v1/query?query=" + escaped_for_url(query));
  }
  /// The number in the answer's only sample, and when that was.
  [[nodiscard]] double number(std::string_view query) const {
    auto const answer = ask(query);
    CAPTURE(query, answer);
    auto const at = answer.find("\"value\":[");
    REQUIRE(at != std::string::npos);
    auto const quote = answer.find(",\"", at) + 2;
    return std::stod(answer.substr(quote, answer.find('"', quote) - quote));
  }
  [[nodiscard]] bool ready() const {
    try {
      return ask("up").find("\"1\"") != std::string::npos;
    } catch (std::exception const&) {
      return false;
    }
  }

 private:
  std::string config(std::uint16_t target) const {
    return folder_.write("prometheus.yml",
                         "global: {scrape_interval: 1s}\n"
                         "scrape_configs:\n"
                         "  - job_name: poise\n"
                         "    static_configs: [{targets: ['127.0.0.1:" +
                             std::to_string(target) + "']}]\n");
  }
  [[nodiscard]] std::string fetch_all(std::string const& target) const {
    Connection connection{port_};
    connection.send("GET " + target + " HTTP/1.0\r\nHost: localhost\r\n\r\n");
    while (!connection.line().empty()) {
    }
    std::string text;
    try {
      for (;;) text += connection.bytes(1);
    } catch (std::exception const&) {  // HTTP/1.0: the end is the end of the connection
    }
    return text;
  }

  tests::Scratch folder_;
  std::uint16_t port_ = tests::free_port();
  tests::Program program_;
};

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// What the program said itself, with the time.
class Beside {
 public:
  void look(Status const& status) {
    tests::Exposition const read{status.metrics()};
    CHECK(read.complaints().empty());
    auto& samples = seen_[now()];
    samples = read.samples();
    for (auto const& [series, value] : samples)
      if (auto const before = highest_.find(series); read.only_rises(series)) {
        if (before != highest_.end() && value < before->second) fallen_ += series + '\n';
        highest_[series] = value;
      }
  }
  [[nodiscard]] std::string const& fallen() const { return fallen_; }

  using Samples = std::map<std::string, double, std::less<>>;
  /// The last look before this moment.
  [[nodiscard]] Samples const& at(double time) const {
    auto const after = seen_.upper_bound(time);
    REQUIRE(after != seen_.begin());
    return std::prev(after)->second;
  }

 private:
  std::map<double, Samples> seen_;
  Samples highest_;
  std::string fallen_;
};

/// The sum of all series whose text contains every one of the parts.
double sum(Beside::Samples const& samples, std::vector<std::string_view> const& parts) {
  double sum = 0;
  for (auto const& [series, value] : samples)
    if (std::ranges::all_of(parts, [&](auto part) { return series.find(part) != series.npos; }))
      sum += value;
  return sum;
}

/// As PromQL's histogram_quantile: linear within a bucket.
double quantile(double q, Beside::Samples const& before, Beside::Samples const& after) {
  std::map<double, double> buckets;
  for (auto const& [series, value] : after) {
    if (!series.starts_with("poise_attempt_duration_seconds_bucket")) continue;
    auto const le = series.find("le=\"") + 4;
    buckets[std::stod(series.substr(le))] = value - before.at(series);  // "+Inf" is read, too
  }
  auto const rank = q * buckets.rbegin()->second;
  double low = 0;
  double below = 0;
  for (auto const& [bound, count] : buckets) {
    if (count >= rank) return low + (bound - low) * (rank - below) / (count - below);
    low = bound;
    below = count;
  }
  return low;
}

std::string slurp(std::string const& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

std::string const docs = std::string{POISE_TEST_SOURCE} + "/docs/operations/";

}  // namespace

TEST_CASE("status explains its picks, and what it has decided") {
  Status const status{{"--calm", "--backends", "3"}};
  auto const explanation = fetch(status.port(), "/explain?key=user+7");
  CHECK(explanation.find(" for the key \"user 7\"\n") != std::string::npos);
  CHECK(explanation.find("\n  server-3: ") != std::string::npos);
  CHECK(fetch(status.port(), "/why/server-2") == "server-2: eligible\n");
  CHECK(fetch(status.port(), "/why/server-9").starts_with("server-9: unknown"));
  CHECK(fetch(status.port(), "/decisions").find(" sampled picks, one in 1024\n") !=
        std::string::npos);
  CHECK(fetch(status.port(), "/decisions?format=json").starts_with("{\"decisions\":["));
}

TEST_CASE("promtool and the OpenMetrics parser find nothing to object to") {
  Status const status{{"--histograms"}};
  std::this_thread::sleep_for(7s);  // with the first ejection
  tests::Scratch const folder;
  auto const plain = folder.write("plain", status.metrics());
  CHECK(run("promtool check metrics < " + plain) == 0);
  auto const open = folder.write("open", status.metrics("application/openmetrics-text"));
  CHECK(slurp(open).ends_with("# EOF\n"));
  CHECK(run("/usr/bin/python3 -c 'import sys; from prometheus_client.openmetrics import parser; "
            "n = sum(len(f.samples) for f in parser.text_string_to_metric_families("
            "open(sys.argv[1]).read())); sys.exit(n < 100)' " +
            open) == 0);
  CHECK(tests::Exposition{slurp(plain)}.complaints().empty());
  CHECK(tests::Exposition{slurp(open)}.complaints().empty());
  auto const json = folder.write("json", fetch(status.port(), "/json"));
  CHECK(run("python3 -m json.tool " + json + " > /dev/null") == 0);
}

TEST_CASE("a real Prometheus gives the right numbers") {
  Status const status{{"--backends", "3", "--policy", "round_robin", "--rate", "300"}};
  Prometheus const prometheus{status.port()};
  for (int tries = 0; !prometheus.ready() && tries < 300; ++tries)
    std::this_thread::sleep_for(100ms);
  Beside beside;
  for (auto const end = now() + 26; now() < end; std::this_thread::sleep_for(50ms))
    beside.look(status);
  CHECK(beside.fallen().empty());

  auto const last = prometheus.number("max(timestamp(poise_requests_in_flight))");
  auto const first = last - 20;
  auto const& before = beside.at(first);
  auto const& after = beside.at(last);
  auto const grown = [&](std::vector<std::string_view> const& parts) {
    return sum(after, parts) - sum(before, parts);
  };
  auto const at = " @ " + std::to_string(last);
  auto const rate = [&](std::string const& series) {
    return "sum(rate(" + series + "[20s]" + at + "))";
  };
  auto const near = [](double expected) { return Approx(expected).epsilon(0.02); };

  CHECK(prometheus.number("sum(poise_requests_total" + at + ")") ==
        near(sum(after, {"poise_requests_total"})));
  CHECK(prometheus.number(rate("poise_requests_total")) ==
        near(grown({"poise_requests_total"}) / 20));
  CHECK(prometheus.number("histogram_quantile(0.9, sum by (le) (rate("
                          "poise_attempt_duration_seconds_bucket[20s]" +
                          at + ")))") == near(quantile(0.9, before, after)));
  CHECK(prometheus.number(rate("poise_backend_requests_total{backend=\"server-1\"}") + " / " +
                          rate("poise_backend_requests_total")) ==
        near(grown({"poise_backend_requests_total", "\"server-1\""}) /
             grown({"poise_backend_requests_total"})));
  CHECK(prometheus.number(rate("poise_requests_total{outcome=\"success\"}") + " / " +
                          rate("poise_requests_total")) ==
        near(grown({"poise_requests_total", "\"success\""}) / grown({"poise_requests_total"})));
  auto const ejections = sum(after, {"poise_ejections_total", "\"enforced\""});
  CHECK(ejections >= 1);
  CHECK(prometheus.number("sum(poise_ejections_total{enforcement=\"enforced\"}" + at + ")") ==
        ejections);

  // Every expression of the dashboard is one that this Prometheus understands.
  auto const dashboard = slurp(docs + "grafana.json");
  int expressions = 0;
  constexpr std::string_view key = "\"expr\": \"";
  for (auto found = dashboard.find(key); found != std::string::npos;
       found = dashboard.find(key, found + 1), ++expressions) {
    std::string expression;
    for (auto i = found + key.size(); dashboard[i] != '"'; ++i)
      expression += dashboard[i] == '\\' ? dashboard[++i] : dashboard[i];
    for (auto const& [name, value] :
         {std::pair{"$balancer", "demo"}, std::pair{"$__rate_interval", "10s"}})
      for (auto i = expression.find(name); i != std::string::npos; i = expression.find(name))
        expression.replace(i, std::string_view{name}.size(), value);
    CAPTURE(expression);
    auto const answer = prometheus.ask(expression);
    CHECK(answer.find("\"status\":\"success\"") != std::string::npos);
    CHECK(answer.find("\"result\":[]") == std::string::npos);
  }
  CHECK(expressions >= 10);
}

TEST_CASE("the alert rules are sound, and fire when they should") {
  CHECK(run("promtool check rules " + docs + "alerts.yml") == 0);
  CHECK(run("promtool test rules " + docs + "alerts_test.yml") == 0);
}

}  // namespace integration_observe_prometheus

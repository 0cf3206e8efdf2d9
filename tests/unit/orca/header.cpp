// SPDX-License-Identifier: MIT

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/base64.hpp>
#include <poise/orca/header.hpp>

#include "support/catch.hpp"
#include "unit/orca/examples.hpp"

namespace unit_orca_header {

using namespace poise::orca;
using namespace std::string_literals;

namespace {

Report read(std::string_view name, std::string_view value) {
  std::string error;
  auto report = read_header(name, value, error);
  CHECK(error.empty());
  REQUIRE(report);
  return *std::move(report);
}
Report read(std::string_view value) { return read(text_header, value); }

std::string error_of(std::string_view name, std::string_view value) {
  std::string error;
  CHECK_FALSE(read_header(name, value, error));
  return error;
}
/// What is said after `endpoint-load-metrics is "...": `.
std::string error_of(std::string_view value) {
  auto const error = error_of(text_header, value);
  auto const quote = error.rfind("\": ");
  CHECK(error.starts_with("endpoint-load-metrics is \""));
  return error.substr(quote == std::string::npos ? 0 : quote + 3);
}
std::string text_error(std::string const& entries) {
  auto const error = error_of(text_header, "TEXT " + entries);
  std::string const begin = "endpoint-load-metrics is \"TEXT ";
  CHECK(error.starts_with(begin));
  return error.substr(error.find("\": ", begin.size()) + 3);
}
std::string message_error(std::string_view bytes) {
  std::string error;
  CHECK_FALSE(read_binary(bytes, error));
  return error;
}
Report message(std::string_view bytes) {
  std::string error;
  auto report = read_binary(bytes, error);
  CHECK(error.empty());
  REQUIRE(report);
  return *std::move(report);
}

std::string const broken = "the message is cut off or broken";

}  // namespace

TEST_CASE("the example of Envoy's tests is read from each format") {
  // NativeHttpEncodedHeader and NativeHttpEncodedHeaderWithColon.
  CHECK(read("TEXT cpu_utilization=0.7,application_utilization=0.8,mem_utilization=0.9,"
             "rps_fractional=1000,eps=2,"
             "named_metrics.foo=123,named_metrics.bar=0.2,utilization.total=0.5") ==
        tests::envoys_report());
  CHECK(read("TEXT cpu_utilization:0.7,application_utilization:0.8,mem_utilization:0.9,"
             "rps_fractional:1000,eps:2,"
             "named_metrics.foo:123,named_metrics.bar:0.2,utilization.total:0.5") ==
        tests::envoys_report());
  // LegacyBinaryHeader and BinaryHeader: the bytes are those of protoc 3.21.12.
  auto const base64 =
      "CWZmZmZmZuY/Ec3MzMzMzOw/KhAKBXRvdGFsEQAAAAAAAOA/MQAAAAAAQI9AOQAAAAAAAABAQg4KA2JhchGamZmZ"
      "mZnJP0IOCgNmb28RAAAAAADAXkBJmpmZmZmZ6T8="s;
  CHECK(read(binary_header, base64) == tests::envoys_report());
  CHECK(read("BIN " + base64) == tests::envoys_report());
  CHECK(read("BIN " + base64.substr(0, base64.size() - 1)) == tests::envoys_report());
}

TEST_CASE("what servers of gRPC send is read") {
  // Envoy's LegacyBinaryHeaderFromGrpcGo: captured from grpc-go, without padding and with it.
  std::string_view const padded = tests::grpc_gos_header;
  for (auto const value : {padded.substr(0, padded.size() - 2), padded})
    CHECK(read("Endpoint-Load-Metrics-Bin", value) == tests::grpc_gos_report());
  // grpc-go's orca/call_metrics_test.go, TestE2ECallMetricsUnary.
  Report unary;
  unary.cpu_utilization = 1;
  unary.memory_utilization = 0.9;
  unary.request_cost = {{"queryCost", 25}};
  unary.utilizations = {{"queueSize", 0.75}};
  CHECK(read(binary_header,
             "CQAAAAAAAPA/Ec3MzMzMzOw/IhQKCXF1ZXJ5Q29zdBEAAAAAAAA5QCoUCglxdWV1ZVNpemURAAAAAAAA6D8"
             "=") == unary);
}

TEST_CASE("a report may be empty, and other headers hold none") {
  std::string error = "old";
  CHECK_FALSE(read_header("content-type", "text/html", error));
  CHECK(error.empty());
  CHECK_FALSE(read_header("x-endpoint-load-metrics-bin", "!", error));  // its former name
  CHECK(error.empty());
  CHECK(read("TEXT") == Report{});
  CHECK(read("TEXT ,, ,") == Report{});
  CHECK(read("BIN") == Report{});
  CHECK(read(binary_header, "") == Report{});
}

TEST_CASE("of all headers the binary one is taken, and of two the first") {
  // Envoy's BinHeaderPrecedence.
  std::vector<std::pair<std::string, std::string>> headers{
      {"date", "today"},
      {"endpoint-load-metrics", "cpu_utilization:0.7"},
      {"Endpoint-Load-Metrics-Bin", "CQAAAAAAAOA/"},
      {"Endpoint-Load-Metrics-Bin", "CQAAAAAAAPA/"}};
  std::string error;
  auto report = read_headers(headers, error);
  REQUIRE(report);
  CHECK(report->cpu_utilization == 0.5);
  CHECK(error.empty());
  headers.resize(2);
  CHECK_FALSE(read_headers(headers, error));
  CHECK(error ==
        "endpoint-load-metrics is \"cpu_utilization:0.7\": begin it with TEXT, JSON or BIN and a "
        "space, in capitals");
  headers.resize(1);
  CHECK_FALSE(read_headers(headers, error));
  CHECK(error.empty());
}

TEST_CASE("an unknown format is refused") {
  // Envoy's InvalidOrcaHeaderPrefix, InvalidOrcaHeaderPrefixWithLargePrefix, EmptyOrcaHeader.
  for (auto const* value : {"BAD random-value", "BADBAD random-value", "", "text eps=1",
                            "TEXTeps=1", "TEXT,eps=1", " TEXT eps=1"})
    CHECK(error_of(value) == "begin it with TEXT, JSON or BIN and a space, in capitals");
  CHECK(error_of("JSON {}") ==
        "to read JSON, include poise/orca/json.hpp and pass orca::read_json");
}

TEST_CASE("TEXT: a number that is none, or not one of a load, is refused") {
  for (auto const* number : {"", "abc", "nan", "NaN", "inf", "-inf", "infinity", "0x10", "1,5",
                             "1e", "1e999", "-1e999", "--1", "+-1", "1 2", ".", "e5", "\"0.7\""}) {
    auto const error = text_error("cpu_utilization="s + number);
    CHECK((error.find("use a finite decimal number") != std::string::npos ||
           error.starts_with("5 is")));  // "1,5" is cut at the comma
  }
  CHECK(text_error("cpu_utilization=abc") ==
        "cpu_utilization is \"abc\": use a finite decimal number");
  CHECK(text_error("cpu_utilization=-1") ==
        "cpu_utilization is -1: use a finite decimal number of 0 or more");
  CHECK(text_error("utilization.disk=-0.5") ==
        "utilization.disk is -0.5: use a finite decimal number of 0 or more");
  CHECK(text_error("not-a-list-of-key-value-pairs") ==
        "not-a-list-of-key-value-pairs is \"\": use a finite decimal number");
}

TEST_CASE("TEXT: numbers are read as Envoy reads them") {
  Report report;
  report.cpu_utilization = 3;
  for (auto const* number : {"3", " 3", "3 ", "\t3\t", "+3", "3.", "3.0", "03", "0.3e1", "30E-1"})
    CHECK(read("TEXT cpu_utilization="s + number) == report);
  CHECK(read("TEXT cpu_utilization=.25").cpu_utilization == 0.25);
  CHECK(read("TEXT cpu_utilization=-0").cpu_utilization == 0);
  CHECK(read("TEXT  eps=1 , rps_fractional=1e300,").rps == 1e300);
  CHECK(read("TEXT named_metrics.a=-4,request_cost.b=-1").named_metrics ==
        std::vector<Metric>{{"a", -4}});
  CHECK(read("TEXT named_metrics.a.b=1").named_metrics == std::vector<Metric>{{"a.b", 1}});
}

TEST_CASE("TEXT: unknown names and names without a name are refused") {
  CHECK(text_error("cpu_utilization=0.7,unsupported_metric=0.8") ==
        "\"unsupported_metric\" is none of application_utilization, cpu_utilization, "
        "mem_utilization, rps_fractional, eps, request_cost.NAME, utilization.NAME, "
        "named_metrics.NAME");
  for (auto const* name :
       {"rps", "cpuUtilization", "EPS", "eps ", "", "utilizationx", "named_metric"})
    CHECK(text_error(name + "=1"s).find(" is none of ") != std::string::npos);
  CHECK(text_error("named_metrics.=123") == "named_metrics. has no name after the dot");
  CHECK(text_error("utilization.=0.9") == "utilization. has no name after the dot");
}

TEST_CASE("TEXT: a name that is given twice is refused") {
  CHECK(text_error("cpu_utilization=0.7,cpu_utilization=0.8") ==
        "cpu_utilization is given twice: remove one");
  CHECK(text_error("eps=0,eps=0") == "eps is given twice: remove one");
  CHECK(text_error("named_metrics.foo=123,named_metrics.duplicate=123,"
                   "named_metrics.duplicate=0.2") ==
        "named_metrics.duplicate is given twice: remove one");
  CHECK(read("TEXT named_metrics.a=1,utilization.a=1,request_cost.a=1").utilizations.size() == 1);
}

TEST_CASE("base64 that is none is refused, and so is what is no message") {
  // BinaryHeaderPopulatedWithReadableString.
  CHECK(error_of(binary_header, "not-a-valid-binary-proto") ==
        "endpoint-load-metrics-bin is \"not-a-valid-binary-proto\": this is no base64 with the "
        "digits A-Z a-z 0-9 + /");
  for (auto const* value : {"A", "AA=", "AAA==", "AA==AA==", "=", "====", "AB==", "AAB=", "C Q=",
                            "CQAAAAAAAOA/,CQAAAAAAAOA/", "CQAAAAAAAOA_"})
    CHECK(error_of("BIN "s + value).starts_with("this is no base64"));
  CHECK(error_of("BIN CQAA") == broken);
}

TEST_CASE("a message of protobuf may have unknown fields") {
  // One of each type: 15 varint, 15 double, 15 bytes, 15 float, and cpu_utilization as a varint.
  CHECK(message("\x78\x01\x79"
                "12345678\x7a\x01"
                "A\x7d"
                "1234\x08\x05"s) == Report{});
  CHECK(message("\x42\x00"s).named_metrics == std::vector<Metric>{{"", 0}});
  CHECK(message("\x42\x07\x0a\x01x\x18\x01\x20\x01"s).named_metrics ==
        std::vector<Metric>{{"x", 0}});
}

TEST_CASE("a message of protobuf: what comes later counts") {
  auto const zero = std::string(8, '\0');
  auto const half = zero.substr(2) + "\xe0\x3f";
  CHECK(message("\x09" + zero + "\x09" + half).cpu_utilization == 0.5);
  auto const entry = "\x42\x0c\x0a\x01x\x11"s;
  CHECK(message(entry + half + entry + zero).named_metrics == std::vector<Metric>{{"x", 0}});
}

TEST_CASE("the deprecated rps counts where rps_fractional is missing") {
  CHECK(message("\x18\xac\x02"s).rps == 300);
  CHECK(message("\x18\xac\x02\x31\x00\x00\x00\x00\x00\x00\xe0\x3f"s).rps == 0.5);
  CHECK(message("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s).rps == 0x1p64);
}

TEST_CASE("a broken message is refused") {
  CHECK(message_error("\x09\x00"s) == broken);          // a double of one byte
  CHECK(message_error("\x7d\x00\x00\x00"s) == broken);  // a float of three
  CHECK(message_error("\x80"s) == broken);              // a tag without its end
  CHECK(message_error("\x18\x80"s) == broken);          // a number without its end
  CHECK(message_error("\x00\x01"s) == broken);          // field 0
  CHECK(message_error("\x0b\x0c"s) == broken);          // a group
  CHECK(message_error("\x0c"s) == broken);              // the end of one
  CHECK(message_error("\x0e"s) == broken);              // type 6
  CHECK(message_error("\x7a\x02"
                      "A"s) == broken);  // a text beyond the end
  CHECK(message_error("\x7a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s) == broken);
  CHECK(message_error("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"s) == broken);  // 65 bits
  CHECK(message_error("\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"s) == broken);
  CHECK(message_error("\xf8\xff\xff\xff\xff\x02\x00"s) == broken);  // a tag of 34 bits
  CHECK(message_error("\x42\x03\x0a\x05x"s) == broken + " in named_metrics");
}

TEST_CASE("a message with numbers that are none of a load, or names in no UTF-8, is refused") {
  auto const number = [](std::string const& bits) {
    return message_error("\x09\x00\x00\x00\x00\x00\x00"s + bits);
  };
  CHECK(number("\xf8\x7f") == "cpu_utilization is nan: use a finite decimal number of 0 or more");
  CHECK(number("\xf0\x7f") == "cpu_utilization is inf: use a finite decimal number of 0 or more");
  CHECK(number("\xf0\xbf") == "cpu_utilization is -1: use a finite decimal number of 0 or more");
  CHECK(message_error("\x42\x0c\x0a\x01x\x11\x00\x00\x00\x00\x00\x00\xf0\x7f"s) ==
        "named_metrics.x is inf: use a finite decimal number");
  CHECK(message_error("\x42\x03\x0a\x01\xff"s).find("no UTF-8") != std::string::npos);
  CHECK(text_error("named_metrics.\xff=1").find("no UTF-8") != std::string::npos);
}

TEST_CASE("a report of 256 metrics and 64 KiB is read, a larger one is not") {
  std::string text = "TEXT ";
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    text += "named_metrics." + std::to_string(i) + "=1,";
    bytes += "\x42\x00"s;
  }
  CHECK(read(text).named_metrics.size() == 256);
  CHECK(message(bytes).named_metrics.size() == 1);
  auto const many = "it has more than 256 metrics: report fewer";
  CHECK(error_of(text_header, text + "utilization.x=1").ends_with(many));
  CHECK(message_error(bytes + "\x22\x00"s) == many);

  std::string const spaces(max_size - 4, ' ');
  CHECK(read("TEXT" + spaces) == Report{});
  CHECK(error_of(text_header, "TEXT " + spaces) ==
        "endpoint-load-metrics has 65537 bytes; a load report has at most 65536: report fewer "
        "metrics");
  CHECK(error_of(binary_header, std::string(100'000'000, 'A')).size() < 200);
  CHECK(message_error(std::string(max_size + 1, 'A')).starts_with("the message has 65537 bytes"));
}

TEST_CASE("a message of 64 KiB of one name again and again costs no search each") {
  std::string bytes;
  while (bytes.size() + 2 < max_size) bytes += "\x42\x00"s;
  CHECK(message_error(bytes) == "it has more than 256 metrics: report fewer");
}

TEST_CASE("an error shows what was sent, without control characters") {
  auto const error = error_of(text_header, "TEXT \x1b[31m\n=1");
  CHECK(error.find("\\x1b[31m\\x0a") != std::string::npos);
  CHECK(error.find('\x1b') == std::string::npos);
  CHECK(error.find('\n') == std::string::npos);
}

}  // namespace unit_orca_header

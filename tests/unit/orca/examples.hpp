// SPDX-License-Identifier: MIT
#pragma once

// Reports that other projects' tests have, in several formats.

#include <poise/orca/report.hpp>

namespace tests {

/// That of Envoy's test/common/orca/orca_parser_test.cc, exampleOrcaLoadReport().
inline poise::orca::Report envoys_report() {
  poise::orca::Report report;
  report.cpu_utilization = 0.7;
  report.application_utilization = 0.8;
  report.memory_utilization = 0.9;
  report.eps = 2;
  report.rps = 1000;
  report.named_metrics = {{"bar", 0.2}, {"foo", 123}};
  report.utilizations = {{"total", 0.5}};
  return report;
}

/// What was captured from grpc-go: Envoy's LegacyBinaryHeaderFromGrpcGo.
inline poise::orca::Report grpc_gos_report() {
  poise::orca::Report report;
  report.cpu_utilization = 0.5;
  report.rps = 100;
  report.eps = 2;
  report.named_metrics = {{"rif", 4}};
  return report;
}
inline constexpr auto grpc_gos_header =
    "CQAAAAAAAOA/MQAAAAAAAFlAOQAAAAAAAABAQg4KA3JpZhEAAAAAAAAQQA==";

}  // namespace tests

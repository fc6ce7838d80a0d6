// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "fuse/status_text.h"

namespace lamina {
namespace {

// What a scraper makes of the text, by Prometheus' exposition format; nothing where it is against
// the rules.
struct Metric {
  std::string help, type;
  std::map<std::string, uint64_t> samples;  // by labels, as they stand
};

std::optional<std::map<std::string, Metric>> parsed(const std::string& text) {
  static const std::regex head("# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)");
  static const std::regex sample(
      R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*",?)*)\} ([0-9]+))re");
  std::map<std::string, Metric> metrics;
  std::string current;
  if (text.empty() || text.back() != '\n') return std::nullopt;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch m;
    if (std::regex_match(line, m, head)) {
      const bool help = m[1] == "HELP";
      // All of one metric stands together, with its help and type first, each once.
      if (help ? metrics.count(m[2]) != 0 : current != m[2]) return std::nullopt;
      current = m[2];
      std::string& said = help ? metrics[current].help : metrics[current].type;
      if (!said.empty()) return std::nullopt;
      said = m[3];
    } else if (std::regex_match(line, m, sample)) {
      if (m[1] != current || metrics[current].type.empty()) return std::nullopt;
      if (!metrics[current].samples.emplace(m[2], std::stoull(m[3])).second) return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  return metrics;
}

PoolStatus some_status() {
  PoolStatus status;
  status.name = "vm\"store\\\n";  // no pool is called so; a label may hold it
  status.health = "ok";
  status.space_warning = 90;
  for (const char* name : {"fast", "spare"}) {
    BlobStatus blob;
    blob.name = name;
    blob.health = "ok";
    status.blobs.push_back(blob);
  }
  for (const char* health : {"ok", "has been modified", "ok"})
    status.origins.push_back({"/srv/images/base.raw", 4096, 1, health});
  return status;
}

TEST(Metrics, AreWhatPrometheusReads) {
  const auto metrics = parsed(metrics_text(some_status()));
  ASSERT_TRUE(metrics) << metrics_text(some_status());
  const std::string suffix = "_total";
  for (const auto& [name, metric] : *metrics) {
    EXPECT_EQ(name.find("lamina_"), 0U) << name;
    EXPECT_FALSE(metric.help.empty()) << name;
    EXPECT_TRUE(metric.type == "gauge" || metric.type == "counter") << name;
    const bool total =
        name.size() > suffix.size() && name.substr(name.size() - suffix.size()) == suffix;
    EXPECT_EQ(metric.type == "counter", total) << name;
    EXPECT_FALSE(metric.samples.empty()) << name;
  }
  EXPECT_EQ(metrics->at("lamina_blob_healthy").samples.size(), 2U);
  const auto& origins = metrics->at("lamina_origin_healthy").samples;
  ASSERT_EQ(origins.size(), 1U);
  EXPECT_EQ(origins.begin()->second, 0U);
  EXPECT_EQ(metrics->at("lamina_written_bytes_total").samples.size(), cause_count);
  EXPECT_EQ(metrics->at("lamina_space_warning_percent").samples.begin()->second, 90U);
}

// People's graphs and alerts name them: none of these goes, or is called otherwise.
TEST(Metrics, KeepTheirNames) {
  const auto metrics = parsed(metrics_text(some_status()));
  ASSERT_TRUE(metrics);
  for (const char* name : {"healthy",
                           "size_bytes",
                           "used_bytes",
                           "free_bytes",
                           "space_warning_percent",
                           "devices",
                           "extents",
                           "metadata_bytes",
                           "log_bytes",
                           "tail_bytes",
                           "layer_bytes",
                           "node_cache_bytes",
                           "node_misses_total",
                           "written_user_bytes_total",
                           "written_medium_bytes_total",
                           "written_bytes_total",
                           "discarded_bytes_total",
                           "moved_bytes_total",
                           "gained_bytes_total",
                           "read_user_bytes_total",
                           "flushes_total",
                           "checkpoints_total",
                           "survived_failures_total",
                           "lost_ranges",
                           "blob_size_bytes",
                           "blob_free_bytes",
                           "blob_healthy"})
    EXPECT_TRUE(metrics->contains("lamina_" + std::string(name))) << name;
}

TEST(StatusJson, SaysHowFullThePoolIs) {
  PoolStatus status = some_status();
  EXPECT_EQ(nlohmann::json::parse(status_json(status, {}, {}))["space_warning"], 90);
  status.space_warning = 0;
  EXPECT_TRUE(nlohmann::json::parse(status_json(status, {}, {}))["space_warning"].is_null());
}

TEST(StatusJson, TellsWhyTheMediumWasWritten) {
  PoolStatus status = some_status();
  const auto nothing = nlohmann::json::parse(status_json(status, {}, {}));
  EXPECT_TRUE(nothing["write_amplification"].is_null());
  status.written_user = 1000;
  for (size_t i = 0; i < cause_count; ++i) status.written[i] = 100 * (i + 1);
  const auto json = nlohmann::json::parse(status_json(status, {}, {}));
  EXPECT_EQ(json["written_medium"], 7800);
  EXPECT_EQ(json["write_amplification"], 7.8);
  uint64_t sum = 0;
  for (const auto& [cause, bytes] : json["written"].items()) sum += bytes.get<uint64_t>();
  EXPECT_EQ(sum, 7800U);
}

}  // namespace
}  // namespace lamina

// SPDX-License-Identifier: Apache-2.0
#include "daemon_log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>

#include <cstdio>

namespace lamina {
namespace {

spdlog::level::level_enum level_of(Settings::Severity severity) {
  switch (severity) {
    case Settings::Severity::info:
      return spdlog::level::info;
    case Settings::Severity::warning:
      return spdlog::level::warn;
    case Settings::Severity::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

Result<std::unique_ptr<DaemonLog>> DaemonLog::open(const std::string& where,
                                                   const std::string& pool, bool foreground) {
  const bool journal = where == "journal";
  std::shared_ptr<spdlog::sinks::sink> sink;
  try {  // spdlog throws where a file cannot be opened
    if (journal && foreground)
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    else if (journal)
      sink = std::make_shared<spdlog::sinks::syslog_sink_mt>("lamina", LOG_PID, LOG_DAEMON, false);
    else
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(where);
  } catch (const spdlog::spdlog_ex& error) {
    return fail(Code::access, "cannot log to " + where + ": " + error.what());
  }
  auto logger = std::make_shared<spdlog::logger>(pool, std::move(sink));
  // The journal knows the time and the severity; a file does not.
  logger->set_pattern(journal && !foreground ? "%n: %v" : "%Y-%m-%dT%H:%M:%S.%eZ %l %n: %v",
                      spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::info);
  const bool on_terminal = !(journal && foreground);
  return std::unique_ptr<DaemonLog>(new DaemonLog(std::move(logger), on_terminal));
}

DaemonLog::DaemonLog(std::shared_ptr<spdlog::logger> logger, bool on_terminal)
    : logger_(std::move(logger)), on_terminal_(on_terminal) {}

DaemonLog::~DaemonLog() = default;

void DaemonLog::write(Settings::Severity severity, const std::string& message) {
  logger_->log(level_of(severity), message);
  if (on_terminal_ && severity != Settings::Severity::info)
    std::fprintf(stderr, "lamina mount: %s\n", message.c_str());
}

}  // namespace lamina

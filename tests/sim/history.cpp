// SPDX-License-Identifier: Apache-2.0
#include "history.h"

#include <algorithm>
#include <cstdio>

#include "text.h"

namespace lamina::sim {

namespace {
unsigned long long as_printed(Tick tick) {
  return tick;
}
}  // namespace

void Operations::complete(OperationIndex operation) {
  times(operation).completed = ++now_;
  if (trace) std::printf("%6llu ended: %s\n", as_printed(now_), at(operation).what.c_str());
}

OperationIndex Operations::begin(std::string what, bool atomic) {
  Times times;
  times.issued = ++now_;
  times.atomic = atomic;
  times.what = std::move(what);
  if (trace) std::printf("%6llu begins: %s\n", as_printed(now_), times.what.c_str());
  times_.push_back(std::move(times));
  return static_cast<OperationIndex>(times_.size());
}

const Operations::Times& Operations::at(OperationIndex operation) const {
  const auto index = static_cast<size_t>(operation);
  LAMINA_CHECK(index >= 1 && index <= times_.size());
  return times_[index - 1];
}

CutSearch::CutSearch(const Operations& operations)
    : operations_(operations), possible_{{0, never}}, presence_(operations.count() + 1) {
  // What was acknowledged as durable is before the cut, whichever cells can still be looked at.
  Tick from = 0;
  std::string what = "what was acknowledged";
  for (size_t i = 1; i <= operations.count(); ++i) {
    const Operations::Times& times = operations.at(static_cast<OperationIndex>(i));
    if (!times.durable || !times.changes || times.issued < from) continue;
    from = times.issued;
    what = text("'", times.what, "' is acknowledged as durable");
  }
  restrict_to(what, {{from, never}});
}

bool CutSearch::observe_versions(const std::string& what,
                                 const std::vector<OperationIndex>& writers,
                                 const std::vector<bool>& matches) {
  LAMINA_CHECK(writers.size() == matches.size());
  // The newest version whose writer is durable: nothing older may be seen. What changed nothing
  // has no entry that could be durable.
  size_t oldest_allowed = 0;
  for (size_t i = 1; i < writers.size(); ++i)
    if (const Operations::Times& times = operations_.at(writers[i]); times.durable && times.changes)
      oldest_allowed = i;

  std::vector<Span> spans;
  bool any = false;
  for (size_t i = 0; i < writers.size(); ++i) {
    if (!matches[i]) continue;
    any = true;
    if (i < oldest_allowed) continue;
    const Tick begin = i == 0 ? 0 : operations_.at(writers[i]).issued;
    Tick end = never;
    if (i + 1 < writers.size() && operations_.at(writers[i + 1]).completed != never)
      end = operations_.at(writers[i + 1]).completed - 1;
    if (begin > end) continue;
    if (!spans.empty() && begin <= spans.back().end)
      spans.back().end = std::max(spans.back().end, end);
    else
      spans.push_back({begin, end});
  }
  if (!any) {
    conflict_ = what + " holds what was never there";
    return false;
  }
  if (spans.empty()) {
    conflict_ = text(what, " is older than '", operations_.at(writers[oldest_allowed]).what,
                     "', which was acknowledged as durable");
    return false;
  }
  note_presence(what, writers, matches);
  return restrict_to(what, spans);
}

void CutSearch::note_presence(const std::string& what, const std::vector<OperationIndex>& writers,
                              const std::vector<bool>& matches) {
  const auto first = std::find(matches.begin(), matches.end(), true);
  const auto last = std::find(matches.rbegin(), matches.rend(), true);
  const auto oldest = static_cast<size_t>(first - matches.begin());
  const auto newest = static_cast<size_t>(matches.rend() - last) - 1;
  for (size_t i = 1; i < writers.size(); ++i) {
    if (!operations_.at(writers[i]).atomic) continue;
    // Seen for certain if every possible version is at or past it; missing if all are before.
    Presence& presence = presence_[static_cast<size_t>(writers[i])];
    if (i <= oldest) presence.allowed &= 2u;
    if (i > newest) presence.allowed &= 1u;
    if (i <= oldest || i > newest) presence.said_by += "; " + what;
  }
}

bool CutSearch::atomic_operations_are_whole() {
  for (size_t i = 1; i < presence_.size(); ++i) {
    if (presence_[i].allowed != 0) continue;
    conflict_ = text("'", operations_.at(static_cast<OperationIndex>(i)).what,
                     "' is one step but was found in half", presence_[i].said_by);
    return false;
  }
  return true;
}

bool CutSearch::restrict_to(const std::string& what, const std::vector<Span>& spans) {
  std::vector<Span> both;
  for (const Span& a : possible_)
    for (const Span& b : spans) {
      const Tick begin = std::max(a.begin, b.begin), end = std::min(a.end, b.end);
      if (begin <= end) both.push_back({begin, end});
    }
  Remark remark{what, spans};
  if (both.empty()) {
    conflict_ = explain(remark);
    return false;
  }
  possible_ = std::move(both);
  remarks_.push_back(std::move(remark));
  return true;
}

// Names a pair that contradicts each other where there is one.
std::string CutSearch::explain(const Remark& last) const {
  auto show = [](const Remark& remark) {
    std::string out = remark.what + " (cut in";
    for (const Span& span : remark.spans)
      out +=
          span.end == never ? text(" ", span.begin, "..") : text(" ", span.begin, "..", span.end);
    return out + ")";
  };
  std::string out = "no prefix of the order explains " + show(last);
  size_t shown = 0;
  for (const Remark& other : remarks_) {
    const bool meet = std::any_of(other.spans.begin(), other.spans.end(), [&](const Span& a) {
      return std::any_of(last.spans.begin(), last.spans.end(), [&](const Span& b) {
        return std::max(a.begin, b.begin) <= std::min(a.end, b.end);
      });
    });
    if (meet) continue;
    if (++shown > 3) break;
    out += " beside " + show(other);
  }
  return out;
}

}  // namespace lamina::sim

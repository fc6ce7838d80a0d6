// SPDX-License-Identifier: Apache-2.0
// The oracle's comparison of what is found after a crash with what may be there.
#include <algorithm>

#include "oracle.h"
#include "text.h"

namespace lamina::sim {

struct Oracle::Comparison {
  Comparison(const Oracle& oracle, bool must_be_exact, Report& to)
      : search(oracle.operations_), gone(oracle.gone_), exact(must_be_exact), report(to) {}

  CutSearch search;
  const std::function<bool(const Content&)>& gone;
  bool exact;
  Report& report;
  std::vector<std::pair<const Found*, DeviceRef>> matched;

  // Every version for which `is` holds may be what was found; `found` describes it.
  template <class Value, class Is>
  bool observe(const std::string& what, const Cell<Value>& cell, Is is, const std::string& found) {
    std::vector<bool> matches;
    for (const Version<Value>& version : cell.versions()) matches.push_back(is(version.value));
    if (exact) std::fill(matches.begin(), matches.end() - 1, false);
    const bool none = std::find(matches.begin(), matches.end(), true) == matches.end();
    if (!none && !cell.changed()) return true;
    if (search.observe(what, cell, matches)) return true;
    report.violation(text(search.conflict(), "; found ", found));
    return false;
  }

  void device(const Found& found, const ModelDevice& model);
  void blocks(const Found& found, const ModelDevice& model);
  void unreadable(const ModelDevice& model, uint64_t block, const Cell<Content>* cell);
};

void Oracle::Comparison::device(const Found& found, const ModelDevice& model) {
  const std::string who = text("device ", model.tag, " (", found.info.name, ")");
  observe(
      "the size of " + who, model.size,
      [&](const Size& size) {
        return size.low <= found.info.size_bytes && found.info.size_bytes <= size.high;
      },
      text(found.info.size_bytes));
  observe(
      "the permissions of " + who, model.permissions,
      [&](const Permissions& p) { return p == Permissions::of(found.info.attributes); },
      text(found.info.attributes.mode, " ", found.info.attributes.uid));
  observe(
      "read-only of " + who, model.read_only,
      [&](bool read_only) { return read_only == found.info.read_only; },
      text(found.info.read_only));
  for (const auto& [name, cell] : model.xattrs) {
    const auto seen = found.xattrs.find(name);
    observe(
        text("xattr ", name, " of ", who), cell,
        [&, there = seen != found.xattrs.end()](const std::optional<std::string>& value) {
          return value ? there && *value == seen->second : !there;
        },
        seen == found.xattrs.end() ? "none" : text(seen->second.size(), " bytes"));
  }
  for (const auto& [name, value] : found.xattrs)
    if (!model.xattrs.contains(name))
      report.violation(text(who, " has an xattr ", name, " that was never set"));
  blocks(found, model);
}

void Oracle::Comparison::unreadable(const ModelDevice& model, uint64_t block,
                                    const Cell<Content>* cell) {
  const std::string what = text("block ", block, " of device ", model.tag);
  if (!cell)
    report.violation(what + " was never written and cannot be read");
  else
    observe(what, *cell, gone, "nothing: it cannot be read");
}

void Oracle::Comparison::blocks(const Found& found, const ModelDevice& model) {
  for (const auto& [block, bytes] : found.blocks) {
    if (!report.ok()) return;
    const auto cell = model.blocks.find(block);
    if (found.unreadable.contains(block)) {
      if (gone) unreadable(model, block, cell == model.blocks.end() ? nullptr : &cell->second);
      continue;
    }
    if (cell == model.blocks.end()) {
      if (!all_zero(bytes))
        report.violation(text("block ", block, " of device ", model.tag,
                              " was never written and holds ", describe_block(bytes)));
      continue;
    }
    const auto is = [&](const Content& content) { return content.matches(bytes); };
    // The common case first: most blocks have not changed since the base.
    if (!cell->second.changed() && is(cell->second.current())) continue;
    observe(text("block ", block, " of device ", model.tag), cell->second, is,
            describe_block(bytes));
  }
  for (const auto& [block, cell] : model.blocks)
    if (block * block_size < found.info.size_bytes && !found.blocks.contains(block))
      report.violation(text("the test did not read block ", block, " of device ", model.tag));
}

DeviceRef Oracle::find_device(const Found& found, const Cell<uint64_t>& cell) const {
  DeviceRef unanswered;
  for (const Version<uint64_t>& version : cell.versions()) {
    if (version.value == 0) continue;
    const DeviceRef& device = devices_.at(version.value);
    if (device->id == found.info.id) return device;
    if (device->id == DeviceId::none) unanswered = device;
  }
  return unanswered;
}

void Oracle::recovered(const std::vector<Found>& found, Permissions root, bool exact,
                       Report& report) {
  Comparison comparison(*this, exact, report);
  std::map<std::string, const Found*> by_name;
  for (const Found& one : found)
    if (!by_name.emplace(one.info.name, &one).second)
      report.violation("two devices are called " + one.info.name);
  for (const auto& [name, one] : by_name)
    if (!names_.contains(name)) report.violation("nobody ever made a device " + name);

  for (const auto& [name, cell] : names_) {
    const auto seen = by_name.find(name);
    DeviceRef device;
    if (seen != by_name.end()) device = find_device(*seen->second, cell);
    if (seen != by_name.end() && !device) {
      report.violation(text("the name ", name, " is that of id ", raw(seen->second->info.id),
                            ", which never had it"));
      return;
    }
    const uint64_t tag = device ? device->tag : 0;
    comparison.observe(
        "the name " + name, cell, [&](uint64_t value) { return value == tag; },
        device ? text("device ", tag) : "nobody");
    if (device) comparison.matched.emplace_back(seen->second, device);
  }
  comparison.observe(
      "the root's permissions", root_, [&](const Permissions& p) { return p == root; },
      text(root.mode));
  for (const auto& [one, device] : comparison.matched) {
    if (!report.ok()) return;
    comparison.device(*one, *device);
  }
  if (!report.ok()) return;
  if (!comparison.search.atomic_operations_are_whole()) {
    report.violation(comparison.search.conflict());
    return;
  }
  root_.settle(root);
  settle(comparison);
}

void Oracle::settle(Comparison& comparison) {
  std::map<uint64_t, DeviceRef> devices;
  names_.clear();
  for (const auto& [found, model] : comparison.matched) {
    bind(*model, found->info.id, comparison.report);
    auto device = std::make_shared<ModelDevice>();
    device->tag = model->tag;
    device->id = found->info.id;
    device->name = found->info.name;
    device->family = model->family;
    device->size.settle(Size::exactly(found->info.size_bytes));
    device->permissions.settle(Permissions::of(found->info.attributes));
    device->read_only.settle(found->info.read_only);
    for (const auto& [name, value] : found->xattrs) device->xattrs[name].settle(value);
    for (const auto& [block, cell] : model->blocks) {
      const auto seen = found->blocks.find(block);
      if (seen == found->blocks.end()) continue;  // past the end: zeroes when it grows again
      const bool unreadable = found->unreadable.contains(block);
      const auto& versions = cell.versions();
      const auto version =
          std::find_if(versions.rbegin(), versions.rend(), [&](const Version<Content>& v) {
            return unreadable ? gone_ && gone_(v.value) : v.value.matches(seen->second);
          });
      if (version == versions.rend()) continue;  // nobody knows what it would be
      const size_t bytes =
          std::min<uint64_t>(block_size, found->info.size_bytes - block * block_size);
      device->blocks[block].settle(version->value.zeroed(bytes, block_size));
    }
    devices[device->tag] = device;
    names_[device->name].settle(device->tag);
  }
  devices_ = std::move(devices);
  operations_.clear();
}

}  // namespace lamina::sim

// SPDX-License-Identifier: Apache-2.0
#include "memory_store.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"

namespace lamina::sim {

class MemoryStore final : public Store {
 public:
  MemoryStore(MemoryMachine& machine, Bug bug) : machine_(machine), bug_(bug) {}

  Result<DeviceInfo> find(const std::string& name) override {
    for (auto& [id, device] : image().devices)
      if (device.name == name) return info(id, device);
    return fail(Code::not_found);
  }
  Result<DeviceInfo> info(DeviceId id) override {
    const auto found = image().devices.find(raw(id));
    if (found == image().devices.end()) return fail(Code::not_found);
    return info(raw(id), found->second);
  }
  std::vector<DeviceInfo> list() override {
    std::vector<DeviceInfo> out;
    for (auto& [id, device] : image().devices)
      if (!device.name.empty()) out.push_back(info(id, device));
    return out;
  }
  Task<Result<DeviceInfo>> create(std::string name, uint64_t size, Attributes a) override {
    co_await pause();
    if (find(name)) co_return fail(Code::exists);
    if (bug_ != Bug::reuses_ids || machine_.next_id_ == 0) ++machine_.next_id_;
    const uint64_t id = machine_.next_id_;
    machine_.step(Kind::other, [=](MemoryImage& image) {
      MemoryImage::Device device;
      device.name = name;
      device.size = size;
      device.attributes = a;
      image.devices[id] = device;
    });
    co_return info(id, image().devices.at(id));
  }
  Task<Result<>> remove(std::string name) override {
    co_await pause();
    const Result<DeviceInfo> found = find(name);
    if (!found) co_return fail(Code::not_found);
    name_step(raw(found->id), "");
    co_return Result<>{};
  }
  Task<Result<>> rename(std::string from, std::string to, bool replace) override {
    co_await pause();
    const Result<DeviceInfo> found = find(from), other = find(to);
    if (!found) co_return fail(Code::not_found);
    if (other && !replace) co_return fail(Code::exists);
    if (from == to) co_return Result<>{};
    const uint64_t id = raw(found->id), old = other ? raw(other->id) : 0;
    if (bug_ == Bug::renames_in_two_steps) {
      name_step(id, "");
      co_await pause();
      if (old) name_step(old, "");
      name_step(id, to);
      co_return Result<>{};
    }
    machine_.step(Kind::other, [=](MemoryImage& image) {
      if (image.devices.contains(old)) image.devices[old].name.clear();
      if (image.devices.contains(id)) image.devices[id].name = to;
    });
    co_return Result<>{};
  }
  Task<Result<std::vector<DeviceInfo>>> fork(std::vector<Pool::Fork> forks,
                                             bool read_only) override {
    co_await pause();
    std::vector<DeviceInfo> out;
    std::vector<std::pair<Pool::Fork, uint64_t>> pairs;
    for (const Pool::Fork& one : forks) {
      if (!image().devices.contains(raw(one.source))) co_return fail(Code::not_found);
      if (find(one.name)) co_return fail(Code::exists);
      pairs.emplace_back(one, ++machine_.next_id_);
    }
    const auto make = [read_only](MemoryImage& image, const Pool::Fork& one, uint64_t id) {
      const auto source = image.devices.find(raw(one.source));
      if (source == image.devices.end()) return;
      MemoryImage::Device device = source->second;
      device.name = one.name;
      device.read_only = read_only;
      image.devices[id] = std::move(device);
    };
    if (bug_ == Bug::forks_one_by_one) {
      for (const auto& [one, id] : pairs) {
        machine_.step(Kind::other, [=](MemoryImage& image) { make(image, one, id); });
        co_await pause();
      }
    } else {
      machine_.step(Kind::other, [=](MemoryImage& image) {
        for (const auto& [one, id] : pairs) make(image, one, id);
      });
    }
    for (const auto& [one, id] : pairs) {
      out.push_back(info(id, image().devices.at(id)));
      if (bug_ == Bug::forks_follow) machine_.followers_[raw(one.source)] = id;
    }
    co_return out;
  }
  Task<Result<>> roll_back(DeviceId id, DeviceId source, bool force) override {
    co_await pause();
    if (opens_[id] > 0 && !force) co_return fail(Code::busy);
    machine_.step(Kind::other, [=](MemoryImage& image) {
      const auto from = image.devices.find(raw(source));
      const auto to = image.devices.find(raw(id));
      if (from == image.devices.end() || to == image.devices.end()) return;
      to->second.blocks = from->second.blocks;
      to->second.size = from->second.size;
    });
    co_return Result<>{};
  }
  Result<> open_device(DeviceId id) override {
    ++opens_[id];
    return {};
  }
  Task<Result<>> close_device(DeviceId id) override {
    --opens_[id];
    co_await pause();
    co_return Result<>{};
  }
  Task<Result<>> set_attributes(DeviceId id, Attributes attributes) override {
    co_await pause();
    change(Kind::attributes, id, [=](MemoryImage::Device& d) { d.attributes = attributes; });
    co_return Result<>{};
  }
  Task<Result<>> set_read_only(DeviceId id, bool read_only) override {
    co_await pause();
    change(Kind::attributes, id, [=](MemoryImage::Device& d) { d.read_only = read_only; });
    co_return Result<>{};
  }
  Result<std::string> get_xattr(DeviceId id, const std::string& name) override {
    const auto& xattrs = image().devices.at(raw(id)).xattrs;
    const auto found = xattrs.find(name);
    if (found == xattrs.end()) return fail(Code::not_found);
    return found->second;
  }
  std::vector<std::string> list_xattrs(DeviceId id) override {
    std::vector<std::string> out;
    for (auto& [name, value] : image().devices.at(raw(id)).xattrs) out.push_back(name);
    return out;
  }
  Task<Result<>> set_xattr(DeviceId id, std::string name, std::string value) override {
    co_await pause();
    change(Kind::xattr, id, [=](MemoryImage::Device& d) { d.xattrs[name] = value; });
    co_return Result<>{};
  }
  Task<Result<>> remove_xattr(DeviceId id, std::string name) override {
    co_await pause();
    if (!get_xattr(id, name)) co_return fail(Code::not_found);
    change(Kind::xattr, id, [=](MemoryImage::Device& d) { d.xattrs.erase(name); });
    co_return Result<>{};
  }
  Attributes root_attributes() override { return image().root; }
  Task<Result<>> set_root_attributes(Attributes attributes) override {
    co_await pause();
    machine_.step(Kind::attributes, [=](MemoryImage& image) { image.root = attributes; });
    co_return Result<>{};
  }

  Task<Result<size_t>> read(DeviceId id, uint64_t offset, std::span<std::byte> into) override;
  Task<Result<>> write(DeviceId id, uint64_t offset, std::span<const std::byte> from) override;
  Task<Result<uint64_t>> copy(DeviceId from, uint64_t offset, DeviceId to, uint64_t to_offset,
                              uint64_t length) override;
  Task<Result<>> erase(DeviceId id, uint64_t offset, uint64_t length) override {
    co_await pause();
    change(Kind::erase, id,
           [=](MemoryImage::Device& d) { zero(d, offset, std::min(d.size, offset + length)); });
    co_return Result<>{};
  }
  Task<Result<>> resize(DeviceId id, uint64_t size) override {
    co_await pause();
    change(Kind::other, id, [=, bug = bug_](MemoryImage::Device& d) {
      if (bug != Bug::shrink_keeps_data) zero(d, size, UINT64_MAX);
      d.size = size;
    });
    co_return Result<>{};
  }
  Task<Result<>> truncate_to_empty(DeviceId id) override {
    co_await pause();
    change(Kind::other, id, [](MemoryImage::Device& d) {
      d.blocks.clear();
      d.size = 0;
    });
    co_return Result<>{};
  }
  Task<Result<>> reserve(DeviceId id, uint64_t offset, uint64_t length, bool keep) override {
    co_await pause();
    if (!keep)
      change(Kind::size, id,
             [=](MemoryImage::Device& d) { d.size = std::max(d.size, offset + length); });
    co_return Result<>{};
  }
  Task<Result<std::vector<MappedRange>>> map(DeviceId id, DeviceBlock begin, size_t) override;
  Task<Result<>> flush(DeviceId) override {
    const size_t until = machine_.steps_.size();
    co_await pause();
    machine_.durable_ = std::max(machine_.durable_, until);
    co_return Result<>{};
  }
  Task<Result<>> sync() override {
    auto task = flush(DeviceId::none);
    co_return co_await task;
  }
  Task<Result<>> grow() override { co_return Result<>{}; }
  Task<Result<>> change_members(uint64_t) override { co_return Result<>{}; }
  void defrag(DeviceId, bool) override {}
  void scrub(bool) override {}
  void age() override {}
  std::string check(bool) override { return {}; }
  Task<void> pin(DeviceId, std::string) override { co_return; }
  Task<Result<>> checkpoint() override {
    co_await pause();
    co_return Result<>{};
  }
  Task<Result<>> count_shares() override { co_return fail(Code::unsupported); }
  Task<Result<>> close() override {
    auto task = flush(DeviceId::none);
    co_return co_await task;
  }
  PoolStatus status() override { return {}; }

 private:
  using Kind = MemoryMachine::StepKind;

  Task<void> put(DeviceId id, uint64_t offset, std::span<const std::byte> from, Kind kind);
  MemoryImage& image() { return machine_.now_; }
  Sleep pause() { return Sleep{machine_.executor_->random()() % 1000}; }
  static DeviceInfo info(uint64_t id, const MemoryImage::Device& device) {
    DeviceInfo out;
    out.id = DeviceId{id};
    out.name = device.name;
    out.size_bytes = device.size;
    out.attributes = device.attributes;
    out.read_only = device.read_only;
    return out;
  }
  void change(Kind kind, DeviceId id, std::function<void(MemoryImage::Device&)> how) {
    machine_.step(kind, [id, how = std::move(how)](MemoryImage& image) {
      const auto found = image.devices.find(raw(id));
      if (found != image.devices.end()) how(found->second);
    });
  }
  void name_step(uint64_t id, const std::string& name) {
    change(Kind::other, DeviceId{id}, [=](MemoryImage::Device& d) { d.name = name; });
  }
  static void zero(MemoryImage::Device& device, uint64_t from, uint64_t to) {
    for (auto& [block, bytes] : device.blocks) {
      const uint64_t start = block * block_size;
      const uint64_t begin = std::max(start, from), end = std::min(start + block_size, to);
      if (begin < end) std::memset(bytes.data() + (begin - start), 0, end - begin);
    }
  }

  MemoryMachine& machine_;
  const Bug bug_;
  std::map<DeviceId, int> opens_;
};

Task<Result<size_t>> MemoryStore::read(DeviceId id, uint64_t offset, std::span<std::byte> into) {
  co_await pause();
  MemoryImage::Device* device = &image().devices.at(raw(id));
  const uint64_t size = device->size;
  if (offset >= size) co_return size_t{0};
  const size_t length = std::min<uint64_t>(into.size(), size - offset);
  if (bug_ == Bug::swaps_devices && machine_.executor_->random()() % 16 == 0)
    device = &image().devices.begin()->second;
  const auto& blocks = device->blocks;
  for (size_t i = 0; i < length;) {
    const uint64_t block = (offset + i) / block_size, from = (offset + i) % block_size;
    const size_t part = std::min<size_t>(block_size - from, length - i);
    const auto found = blocks.find(block);
    if (found == blocks.end())
      std::memset(into.data() + i, 0, part);
    else
      std::memcpy(into.data() + i, found->second.data() + from, part);
    i += part;
  }
  if (bug_ == Bug::reads_stale && length > 100 && machine_.executor_->random()() % 32 == 0)
    std::memset(into.data(), 0, 100);
  co_return length;
}

Task<Result<>> MemoryStore::write(DeviceId id, uint64_t offset, std::span<const std::byte> from) {
  co_await pause();
  auto putting = put(id, offset, from, Kind::write);
  co_await putting;
  co_return Result<>{};
}

Task<void> MemoryStore::put(DeviceId id, uint64_t offset, std::span<const std::byte> from,
                            Kind kind) {
  const uint64_t shift =
      bug_ == Bug::writes_elsewhere && machine_.executor_->random()() % 8 == 0 ? block_size : 0;
  // First, so that a crash leaves nothing past the end, which growing later would show.
  const uint64_t end = offset + from.size();
  if (end > image().devices.at(raw(id)).size)
    change(Kind::size, id, [=](MemoryImage::Device& d) { d.size = std::max(d.size, end); });
  for (size_t i = 0; i < from.size();) {
    const uint64_t block = (offset + i + shift) / block_size, at = (offset + i) % block_size;
    const size_t part = std::min<size_t>(block_size - at, from.size() - i);
    std::vector<std::byte> piece(from.begin() + static_cast<ptrdiff_t>(i),
                                 from.begin() + static_cast<ptrdiff_t>(i + part));
    const auto put = [=](MemoryImage::Device& d) {
      std::vector<std::byte>& bytes = d.blocks[block];
      bytes.resize(block_size);
      std::copy(piece.begin(), piece.end(), bytes.begin() + static_cast<ptrdiff_t>(at));
    };
    change(kind, id, put);
    if (const auto follower = machine_.followers_.find(raw(id));
        follower != machine_.followers_.end() && machine_.executor_->random()() % 8 == 0)
      change(Kind::write, DeviceId{follower->second}, put);
    i += part;
    if (machine_.executor_->random()() % 4 == 0) co_await pause();
  }
}

// In pieces, the last of which may be missing.
Task<Result<uint64_t>> MemoryStore::copy(DeviceId from, uint64_t offset, DeviceId to,
                                         uint64_t to_offset, uint64_t length) {
  co_await pause();
  if (from == to && offset < to_offset + length && to_offset < offset + length)
    co_return fail(Code::invalid);
  if (length > block_size && machine_.executor_->random()() % 4 == 0)
    length = round_down(length, block_size) - to_offset % block_size;
  std::vector<std::byte> bytes(length);
  auto reading = read(from, offset, bytes);
  const Result<size_t> got = co_await reading;
  if (!got || *got == 0) co_return uint64_t{0};
  auto putting = put(to, to_offset, std::span(bytes).first(*got), Kind::copy);
  co_await putting;
  co_return uint64_t{*got};
}

Task<Result<std::vector<MappedRange>>> MemoryStore::map(DeviceId id, DeviceBlock begin, size_t) {
  co_await pause();
  std::vector<MappedRange> out;
  for (auto& [block, bytes] : image().devices.at(raw(id)).blocks) {
    if (block < begin.value || all_zero(bytes)) continue;
    MappedRange range;
    range.range = {DeviceBlock{block}, DeviceBlock{block + 1}};
    range.state = RangeState::data;
    out.push_back(range);
  }
  co_return out;
}

MemoryMachine::~MemoryMachine() = default;

void MemoryMachine::step(StepKind kind, std::function<void(MemoryImage&)> apply) {
  apply(now_);
  steps_.push_back({kind, std::move(apply)});
}

void MemoryMachine::power_on(uint64_t seed) {
  executor_ = std::make_unique<SimExecutor>(seed);
  crash_at_ns_ = UINT64_MAX;
}

Task<Result<>> MemoryMachine::open() {
  co_await Yield{};
  now_ = base_;
  steps_.clear();
  durable_ = 0;
  for (auto& [id, device] : now_.devices) next_id_ = std::max(next_id_, id);
  store_ = std::make_unique<MemoryStore>(*this, bug_);
  co_return Result<>{};
}

Store& MemoryMachine::store() {
  return *store_;
}

void MemoryMachine::arm_crash(std::mt19937_64& random) {
  crash_at_ns_ = executor_->now_ns() + random() % 3000;
}

bool MemoryMachine::drive(Task<void> task) {
  bool done = false;
  Executor* const before = Executor::set_current(executor_.get());
  spawn([](Task<void> inner, bool* flag) -> Task<void> {
    co_await inner;
    *flag = true;
  }(std::move(task), &done));
  while (!done && executor_->now_ns() < crash_at_ns_) executor_->run(executor_->now_ns() + 50);
  Executor::set_current(before);
  return done;
}

void MemoryMachine::crash(std::mt19937_64& random) {
  size_t keep = durable_ + random() % (steps_.size() - durable_ + 1);
  if (bug_ == Bug::loses_durable && keep == durable_ && keep > 0) --keep;
  if (bug_ == Bug::applies_late)
    for (size_t i = keep; i-- > durable_;)
      if (steps_[i].kind == StepKind::write) {
        std::rotate(steps_.begin() + static_cast<ptrdiff_t>(i),
                    steps_.begin() + static_cast<ptrdiff_t>(i) + 1, steps_.end());
        break;
      }
  const size_t skipped =
      bug_ == Bug::skips_a_step && keep > 0 ? random() % keep : static_cast<size_t>(-1);
  const size_t torn = bug_ == Bug::goes_back_in_time && durable_ > 0 ? random() % durable_
                                                                     : static_cast<size_t>(-1);
  for (size_t i = 0; i < keep; ++i) {
    const StepKind kind = steps_[i].kind;
    if (i == skipped || (i == torn && kind == StepKind::write)) continue;
    if (bug_ == Bug::resurrects_erased && kind == StepKind::erase) continue;
    if (bug_ == Bug::forgets_copies && kind == StepKind::copy) continue;
    if (bug_ == Bug::forgets_attributes && kind == StepKind::attributes) continue;
    if (bug_ == Bug::forgets_xattrs && kind == StepKind::xattr) continue;
    if (bug_ == Bug::forgets_sizes && kind == StepKind::size) continue;
    MemoryImage before;
    const bool tear = bug_ == Bug::tears_a_block && i + 1 == keep && kind == StepKind::write;
    if (tear) before = base_;
    steps_[i].apply(base_);
    if (!tear) continue;
    for (auto& [id, device] : base_.devices)
      for (auto& [block, bytes] : device.blocks) {
        auto& old = before.devices[id].blocks[block];
        old.resize(block_size);
        std::copy_n(old.begin(), block_size / 2, bytes.begin());
      }
  }
  std::erase_if(base_.devices, [](const auto& entry) { return entry.second.name.empty(); });
  store_.reset();
  executor_.reset();
}

void MemoryMachine::power_off() {
  base_ = now_;
  std::erase_if(base_.devices, [](const auto& entry) { return entry.second.name.empty(); });
  store_.reset();
  executor_.reset();
}

}  // namespace lamina::sim

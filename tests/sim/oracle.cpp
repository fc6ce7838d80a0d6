// SPDX-License-Identifier: Apache-2.0
#include "oracle.h"

#include <algorithm>

#include "text.h"

namespace lamina::sim {

DeviceRef Oracle::named(const std::string& name) const {
  const auto cell = names_.find(name);
  if (cell == names_.end() || cell->second.current() == 0) return nullptr;
  return devices_.at(cell->second.current());
}

std::vector<std::string> Oracle::names_ever() const {
  std::vector<std::string> names;
  for (const auto& [name, cell] : names_) names.push_back(name);
  return names;
}

OperationIndex Oracle::begin(std::string what, bool atomic, std::vector<ModelDevice*> of) {
  const OperationIndex operation = operations_.begin(std::move(what), atomic);
  for (ModelDevice* device : of) device->unflushed.push_back(operation);
  return operation;
}

Oracle::Created Oracle::create(const std::string& name, uint64_t size, Permissions permissions) {
  auto device = std::make_shared<ModelDevice>();
  device->tag = ++tags_;
  device->name = name;
  device->family = device->tag;
  device->size.settle(Size::exactly(size));
  device->permissions.settle(permissions);
  devices_[device->tag] = device;
  const OperationIndex operation =
      begin(text("create ", name, " as device ", device->tag), true, {device.get()});
  names_[name].push(device->tag, operation);
  operations_.note_change(operation);
  return {operation, device};
}

void Oracle::bind(ModelDevice& device, DeviceId id, Report& report) {
  for (const auto& [tag, other] : devices_)
    if (other->id == id && tag != device.tag)
      report.violation(
          text("device ", device.tag, " got id ", raw(id), ", which device ", tag, " has or had"));
  device.id = id;
}

Oracle::Forked Oracle::fork(const std::vector<std::pair<DeviceRef, std::string>>& sources,
                            bool read_only) {
  Forked forked;
  std::string what = "fork";
  std::vector<ModelDevice*> of;
  std::vector<std::pair<ModelDevice*, uint64_t>> open;
  for (const auto& [source, name] : sources) {
    auto device = std::make_shared<ModelDevice>();
    device->tag = ++tags_;
    device->name = name;
    device->family = source->family;
    source->share();
    device->size.settle(source->size.current());
    device->permissions.settle(source->permissions.current());
    device->read_only.settle(read_only);
    for (const auto& [key, cell] : source->xattrs)
      if (cell.current()) device->xattrs[key].settle(cell.current());
    for (const auto& [block, cell] : source->blocks) {
      const auto& versions = cell.versions();
      const bool open_still = cell.changed() && !operations_.completed(versions.back().operation);
      device->blocks[block].settle(open_still ? versions[versions.size() - 2].value
                                              : cell.current());
      if (open_still) open.emplace_back(device.get(), block);
    }
    what += text(" ", source->name, " (", source->tag, ") as ", name, " (", device->tag, ")");
    of.push_back(source.get());
    of.push_back(device.get());
    devices_[device->tag] = device;
    forked.devices.push_back(std::move(device));
  }
  forked.exact = open.empty();
  forked.operation = begin(std::move(what), forked.exact, of);
  operations_.note_change(forked.operation);
  for (size_t i = 0; i < sources.size(); ++i) {
    names_[sources[i].second].push(forked.devices[i]->tag, forked.operation);
    ModelDevice& device = *forked.devices[i];
    for (const auto& [forks_device, block] : open)
      if (forks_device == &device)
        device.blocks[block].push(sources[i].first->block(block), forked.operation);
  }
  return forked;
}

std::vector<uint64_t> Oracle::unsettled_blocks(const ModelDevice& device) {
  std::vector<uint64_t> blocks;
  for (const auto& [block, cell] : device.blocks)
    if (cell.changed()) blocks.push_back(block);
  return blocks;
}

void Oracle::settle_fork(ModelDevice& device, uint64_t block, std::span<const std::byte> bytes,
                         Report& report) {
  Cell<Content>& cell = device.blocks[block];
  for (const Version<Content>& version : cell.versions())
    if (version.value.matches(bytes)) {
      const Content content = version.value;
      cell.settle(content);
      return;
    }
  report.violation(text(
      "block ", block, " of device ", device.tag, ", just forked, holds ", describe_block(bytes),
      " instead of ", cell.versions().front().value.describe(), " or ", cell.current().describe()));
}

OperationIndex Oracle::roll_back(ModelDevice& device, ModelDevice& source) {
  device.share();
  source.share();
  const OperationIndex operation =
      begin(text("roll back device ", device.tag, " to device ", source.tag), true, {&device});
  operations_.note_change(operation);
  zero_range(device, 0, UINT64_MAX, operation);
  for (const auto& [block, cell] : source.blocks)
    if (!cell.current().zero()) put(device, block, cell.current(), operation);
  if (source.bytes() != device.bytes()) device.size.push(Size::exactly(source.bytes()), operation);
  if (device.family != source.family) device.family = 0;
  return operation;
}

OperationIndex Oracle::remove(const std::string& name) {
  const DeviceRef device = named(name);
  const OperationIndex operation =
      begin(text("remove ", name, ", device ", device->tag), true, {device.get()});
  names_[name].push(0, operation);
  operations_.note_change(operation);
  device->name.clear();
  return operation;
}

OperationIndex Oracle::rename(const std::string& from, const std::string& to) {
  const DeviceRef device = named(from), replaced = named(to);
  std::vector<ModelDevice*> of{device.get()};
  if (replaced) of.push_back(replaced.get());
  const OperationIndex operation = begin(text("rename ", from, " to ", to), true, of);
  if (from == to) return operation;
  if (replaced) replaced->name.clear();
  names_[from].push(0, operation);
  operations_.note_change(operation);
  names_[to].push(device->tag, operation);
  device->name = to;
  return operation;
}

OperationIndex Oracle::set_permissions(ModelDevice& device, Permissions permissions) {
  const OperationIndex operation = begin(text("chmod device ", device.tag), true, {&device});
  if (permissions != device.permissions.current()) operations_.note_change(operation);
  device.permissions.push(permissions, operation);
  return operation;
}

OperationIndex Oracle::set_read_only(ModelDevice& device, bool read_only) {
  const OperationIndex operation =
      begin(text("set read-only of device ", device.tag, " to ", read_only), true, {&device});
  if (read_only != device.read_only.current()) operations_.note_change(operation);
  device.read_only.push(read_only, operation);
  return operation;
}

OperationIndex Oracle::set_xattr(ModelDevice& device, const std::string& name,
                                 std::optional<std::string> value) {
  const OperationIndex operation = begin(
      text(value ? "set" : "remove", " xattr ", name, " of device ", device.tag), true, {&device});
  Cell<std::optional<std::string>>& cell = device.xattrs[name];
  if (value != cell.current()) operations_.note_change(operation);
  cell.push(std::move(value), operation);
  return operation;
}

OperationIndex Oracle::set_root(Permissions permissions) {
  const OperationIndex operation = begin("chmod of the root", true, {});
  if (permissions != root_.current()) operations_.note_change(operation);
  root_.push(permissions, operation);
  return operation;
}

void Oracle::pattern(const ModelDevice& device, uint64_t offset, uint64_t version,
                     const std::vector<bool>& zero, std::span<std::byte> data) {
  std::array<std::byte, block_size> whole;
  const uint64_t end = offset + data.size();
  for (uint64_t block = offset / block_size; block * block_size < end; ++block) {
    const uint64_t begin = block * block_size;
    const uint64_t from = std::max(begin, offset), to = std::min(begin + block_size, end);
    const Content content =
        zero[block - offset / block_size] ? Content{} : Content::tagged(device.tag, block, version);
    content.fill(whole);
    std::copy_n(whole.begin() + static_cast<ptrdiff_t>(from - begin), to - from,
                data.begin() + static_cast<ptrdiff_t>(from - offset));
  }
}

void Oracle::put(ModelDevice& device, uint64_t block, Content content, OperationIndex operation) {
  Cell<Content>& cell = device.blocks[block];
  if (!cell.current().zero() || !content.zero()) operations_.note_change(operation);
  cell.push(std::move(content), operation);
}

OperationIndex Oracle::write(ModelDevice& device, uint64_t offset, uint64_t version,
                             const std::vector<bool>& zero, std::span<const std::byte> data) {
  const uint64_t end = offset + data.size();
  const OperationIndex operation = begin(text("write ", data.size(), " bytes at ", offset,
                                              " of device ", device.tag, " version ", version),
                                         false, {&device});
  for (uint64_t block = offset / block_size; block * block_size < end; ++block) {
    const uint64_t start = block * block_size;
    const uint64_t from = std::max(start, offset), to = std::min(start + block_size, end);
    Content content;
    if (to - from < block_size)
      content = device.block(block).with(from - start, data.subspan(from - offset, to - from));
    else if (!zero[block - offset / block_size])
      content = Content::tagged(device.tag, block, version);
    put(device, block, std::move(content), operation);
  }
  grow(device, end, operation);
  return operation;
}

void Oracle::grow(ModelDevice& device, uint64_t end, OperationIndex operation) {
  if (end <= device.bytes()) return;
  if (end > device.bytes() + 1) device.size.push({device.bytes() + 1, end - 1}, operation);
  device.size.push(Size::exactly(end), operation);
  operations_.note_change(operation);
}

OperationIndex Oracle::copy(const ModelDevice& source, uint64_t offset, ModelDevice& target,
                            uint64_t to_offset, uint64_t length) {
  const OperationIndex operation =
      begin(text("copy ", length, " bytes at ", offset, " of device ", source.tag, " to ",
                 to_offset, " of device ", target.tag),
            false, {&target});
  const uint64_t end = to_offset + length;
  for (uint64_t block = to_offset / block_size; block * block_size < end; ++block) {
    const uint64_t start = block * block_size;
    const uint64_t from = std::max(start, to_offset), to = std::min(start + block_size, end);
    const uint64_t at = offset + (from - to_offset);  // of the source
    Content content;
    if (to - from == block_size && at % block_size == 0) {
      content = source.block(at / block_size);
    } else {
      std::array<std::byte, 2 * block_size> both;
      const std::span<std::byte> bytes(both);
      source.block(at / block_size).fill(bytes.first(block_size));
      source.block(at / block_size + 1).fill(bytes.last(block_size));
      content = target.block(block).with(from - start, bytes.subspan(at % block_size, to - from));
    }
    put(target, block, std::move(content), operation);
  }
  grow(target, end, operation);
  return operation;
}

void Oracle::shortened(OperationIndex operation, ModelDevice& device, uint64_t end) {
  const auto undo = [&](auto& cell) {
    while (cell.changed() && cell.versions().back().operation == operation) cell.pop();
  };
  for (auto at = device.blocks.lower_bound(div_up(end, block_size)); at != device.blocks.end();
       ++at)
    undo(at->second);
  undo(device.size);
  grow(device, end, operation);
}

void Oracle::zero_range(ModelDevice& device, uint64_t from, uint64_t to, OperationIndex operation) {
  for (auto at = device.blocks.lower_bound(from / block_size); at != device.blocks.end(); ++at) {
    const uint64_t start = at->first * block_size;
    if (start >= to) break;
    if (at->second.current().zero()) continue;
    const uint64_t begin = std::max(start, from), end = std::min(start + block_size, to);
    Content content = at->second.current().zeroed(begin - start, end - start);
    // Where the bytes were zero already nothing is done, and no entry says so.
    std::array<std::byte, block_size> bytes;
    content.fill(bytes);
    if (!at->second.current().matches(bytes)) operations_.note_change(operation);
    at->second.push(std::move(content), operation);
  }
}

OperationIndex Oracle::set_origin(ModelDevice& device, const OutsideImage& image) {
  const OperationIndex operation =
      begin(text("set ", image.path, " as origin of device ", device.tag), true, {&device});
  for (uint64_t block = 0; block * block_size < image.bytes; ++block) {
    const uint64_t end = std::min<uint64_t>(image.bytes - block * block_size, block_size);
    put(device, block, Content::tagged(image.tag, block, 1).zeroed(end, block_size), operation);
  }
  if (image.bytes > device.bytes()) device.size.push(Size::exactly(image.bytes), operation);
  return operation;
}

OperationIndex Oracle::erase(ModelDevice& device, uint64_t offset, uint64_t length) {
  const OperationIndex operation = begin(
      text("erase ", length, " bytes at ", offset, " of device ", device.tag), false, {&device});
  zero_range(device, offset, offset + length, operation);
  return operation;
}

OperationIndex Oracle::resize(ModelDevice& device, uint64_t size) {
  const uint64_t before = device.bytes();
  const OperationIndex operation = begin(
      text("resize device ", device.tag, " from ", before, " to ", size), size < before, {&device});
  if (size < before) zero_range(device, size, UINT64_MAX, operation);
  if (size == before) return operation;
  device.size.push(Size::exactly(size), operation);
  operations_.note_change(operation);
  return operation;
}

OperationIndex Oracle::truncate_to_empty(ModelDevice& device) {
  const OperationIndex operation = begin(text("empty device ", device.tag), true, {&device});
  zero_range(device, 0, UINT64_MAX, operation);
  device.family = 0;
  if (device.bytes() == 0) return operation;
  device.size.push(Size::exactly(0), operation);
  operations_.note_change(operation);
  return operation;
}

OperationIndex Oracle::reserve(ModelDevice& device, uint64_t end) {
  const OperationIndex operation =
      begin(text("reserve up to ", end, " in device ", device.tag), false, {&device});
  if (end <= device.bytes()) return operation;
  device.size.push(Size::exactly(end), operation);
  operations_.note_change(operation);
  return operation;
}

void Oracle::withdraw(OperationIndex operation) {
  auto undo = [&](auto& cell) {
    while (cell.changed() && cell.versions().back().operation == operation) cell.pop();
  };
  for (auto& [name, cell] : names_) undo(cell);
  undo(root_);
  for (auto& [tag, device] : devices_) {
    undo(device->size);
    undo(device->permissions);
    undo(device->read_only);
    for (auto& [name, cell] : device->xattrs) undo(cell);
    for (auto& [block, cell] : device->blocks) undo(cell);
    device->name.clear();
  }
  for (auto& [name, cell] : names_)
    if (cell.current() != 0) devices_.at(cell.current())->name = name;
  operations_.complete(operation);
  operations_.note_nothing_changed(operation);
}

void Oracle::settle_failed(OperationIndex operation, ModelDevice& device, uint64_t size,
                           uint64_t first, std::span<const std::byte> bytes, Report& report) {
  Cell<Size>& cell_of_size = device.size;
  const auto fits = [&](const Size& one) { return one.low <= size && size <= one.high; };
  while (cell_of_size.changed() && cell_of_size.versions().back().operation == operation &&
         !fits(cell_of_size.current()))
    cell_of_size.pop();
  if (!fits(cell_of_size.current()))
    report.violation(text("after a failed '", operations_.at(operation).what, "' the size is ",
                          size, " instead of ", device.bytes()));
  else if (device.bytes() != size)
    cell_of_size.push(Size::exactly(size), operation);
  bool kept = cell_of_size.changed() && cell_of_size.versions().back().operation == operation;
  for (auto at = device.blocks.lower_bound(first); at != device.blocks.end(); ++at) {
    Cell<Content>& cell = at->second;
    if (!cell.changed() || cell.versions().back().operation != operation) continue;
    const uint64_t from = (at->first - first) * block_size;
    const std::span<const std::byte> seen =
        from >= bytes.size()
            ? std::span<const std::byte>{}
            : bytes.subspan(from, std::min<size_t>(block_size, bytes.size() - from));
    if (!seen.empty() && cell.current().matches(seen)) {
      kept = true;
      continue;
    }
    cell.pop();
    if (!cell.current().matches(seen))
      report.violation(text("after a failed '", operations_.at(operation).what, "' block ",
                            at->first, " holds ", describe_block(seen), " instead of ",
                            cell.current().describe()));
  }
  // Then no flush has anything of it to make durable.
  if (!kept) operations_.note_nothing_changed(operation);
  operations_.complete(operation);
}

std::vector<OperationIndex> Oracle::covered(const ModelDevice* device) const {
  std::vector<OperationIndex> out;
  auto take = [&](OperationIndex operation) {
    if (operations_.completed(operation) && !operations_.at(operation).durable)
      out.push_back(operation);
  };
  if (device)
    for (OperationIndex operation : device->unflushed) take(operation);
  else
    for (size_t i = 1; i <= operations_.count(); ++i) take(static_cast<OperationIndex>(i));
  return out;
}

void Oracle::durable(const std::vector<OperationIndex>& operations) {
  for (OperationIndex operation : operations) operations_.make_durable(operation);
  for (auto& [tag, device] : devices_)
    std::erase_if(device->unflushed,
                  [&](OperationIndex operation) { return operations_.at(operation).durable; });
}

std::vector<uint64_t> Oracle::interesting_blocks(DeviceId id, const std::string& name) const {
  std::vector<uint64_t> out;
  const auto cell = names_.find(name);
  if (cell == names_.end()) return out;
  for (const auto& [tag, device] : devices_) {
    if (device->id != id && device->id != DeviceId::none) continue;
    for (const auto& [block, content] : device->blocks) out.push_back(block);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace lamina::sim

import Essentials

/// The Linux control groups (cgroups, versions 1 and 2) that this process runs in.
///
/// Containers and service managers use them to limit processor time and memory. A limit applies to a group and all
/// groups below it, so the lowest limit among this process's group and its ancestors counts.
package struct ControlGroups {
  /// The folder of a group, whose files contain its limits. Their names depend on the version.
  private struct Folder {
    let isVersion2: Bool
    let path: String
  }

  /// A memory limit and how much of it is still free, in bytes.
  package struct Memory: Equatable {
    package let limit: Int
    package let free: Int

    package init(limit: Int, free: Int) {
      self.limit = limit
      self.free = free
    }
  }

  private let root: String

  /// The groups of this process, read from `/proc` and `/sys` below `root`.
  package init(root: String = "") { self.root = root }

  /// The CPU quota in processors, such as 1.5; `nil` without a quota.
  package var processors: Double? {
    folders(of: "cpu").compactMap { folder -> Double? in
      if folder.isVersion2 {
        // "200000 100000", or "max 100000" for no limit.
        let fields = text(folder.path + "/cpu.max")?.split(whereSeparator: \.isWhitespace) ?? []
        guard fields.count == 2, let quota = Double(fields[0]), let period = Double(fields[1]) else { return nil }
        return quota > 0 && period > 0 ? quota / period : nil
      }
      guard let quota = number(folder.path + "/cpu.cfs_quota_us"), quota > 0 else { return nil }
      guard let period = number(folder.path + "/cpu.cfs_period_us"), period > 0 else { return nil }
      return Double(quota) / Double(period)
    }.min()
  }

  /// The memory limits of the process's group and its ancestors.
  package var memory: [Memory] {
    folders(of: "memory").compactMap { folder in
      let names =
        folder.isVersion2
        ? ("memory.max", "memory.current", "inactive_file")
        : ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
      guard let limit = number("\(folder.path)/\(names.0)") else { return nil }
      let used = number("\(folder.path)/\(names.1)") ?? 0
      // The usage includes cached file pages, which the system drops before it runs out of memory.
      let droppable = member(names.2, of: text(folder.path + "/memory.stat") ?? "") ?? 0
      return Memory(limit: limit, free: max(0, limit - max(0, used - droppable)))
    }
  }

  /// The folders of the process's group and its ancestors in the hierarchies that have `controller`.
  private func folders(of controller: String) -> [Folder] {
    let mounts = lines(root + "/proc/self/mountinfo").compactMap(Mount.init)
    return lines(root + "/proc/self/cgroup").flatMap { line -> [Folder] in
      // "4:memory:/a/b", or "0::/a/b" for version 2.
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { return [] }
      let isVersion2 = fields[0] == "0" && fields[1].isEmpty
      guard isVersion2 || fields[1].split(separator: ",").contains(Substring(controller)) else { return [] }
      let mount = mounts.first { isVersion2 ? $0.isVersion2 : $0.controllers.contains(controller) }
      guard let mount else { return [] }
      var path = String(fields[2])
      if mount.root != "/", path == mount.root || path.hasPrefix(mount.root + "/") {
        path = String(path.dropFirst(mount.root.count))
      }
      var names = path.split(separator: "/")
      var folders: [Folder] = []
      while true {
        let place = ([root + mount.point] + names.map(String.init)).joined(separator: "/")
        folders.append(Folder(isVersion2: isVersion2, path: place))
        if names.popLast() == nil { return folders }
      }
    }
  }

  /// A line of `mountinfo` that mounts a cgroup hierarchy.
  private struct Mount {
    let root: String
    let point: String
    let isVersion2: Bool
    let controllers: [String]

    init?(_ line: String) {
      // "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"
      let fields = line.split(separator: " ")
      guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
      guard fields[dash + 1].hasPrefix("cgroup") else { return nil }
      root = String(fields[3])
      point = String(fields[4])
      isVersion2 = fields[dash + 1] == "cgroup2"
      controllers = isVersion2 ? [] : fields[dash + 3].split(separator: ",").map(String.init)
    }
  }

  private func text(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }

  private func lines(_ path: String) -> [String] { (text(path) ?? "").split(separator: "\n").map(String.init) }

  /// The number in a file; `nil` for "max".
  private func number(_ path: String) -> Int? {
    text(path)?.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
  }

  /// The number after `name`, in text with a name and a number on each line.
  private func member(_ name: String, of text: String) -> Int? {
    let line = text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
    return line?.split(separator: " ").last.flatMap { Int($0) }
  }
}

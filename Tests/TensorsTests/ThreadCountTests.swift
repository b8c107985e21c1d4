import Foundation
import Testing

import Tensors

/// The default number of threads, and the limits of containers.
struct ThreadCountTests {
  @Test(
    arguments: [
      (nil, 8, nil, 8), ("3", 8, nil, 3), ("12", 8, 2.0, 12), (nil, 8, 2.0, 2), (nil, 8, 1.5, 2), (nil, 8, 0.2, 1),
      (nil, 2, 6.0, 2), ("0", 8, nil, 8), ("-1", 8, nil, 8), ("two", 8, 2.0, 2), ("", 8, nil, 8), ("1025", 4, nil, 4),
    ] as [(String?, Int, Double?, Int)])
  func choice(variable: String?, processors: Int, quota: Double?, expected: Int) {
    #expect(ThreadCount.chosen(variable: variable, processors: processors, quota: quota) == expected)
  }

  /// A folder that serves as the root of a file system with these files.
  private func withRoot(_ files: [String: String], _ body: (ControlGroups) throws -> Void) throws {
    let root = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: root) }
    for (path, text) in files {
      let url = root.appendingPathComponent(path)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }
    try body(ControlGroups(root: root.path))
  }

  private static let version2 = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
  private static let version1 = """
    31 30 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
    32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
    35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:12 - cgroup cgroup rw,memory

    """

  @Test func version2TakesTheLowestLimitOfAllAncestors() throws {
    try withRoot([
      "proc/self/mountinfo": Self.version2, "proc/self/cgroup": "0::/user/job\n",
      "sys/fs/cgroup/user/cpu.max": "150000 100000\n", "sys/fs/cgroup/user/job/cpu.max": "max 100000\n",
      "sys/fs/cgroup/user/memory.max": "4000\n", "sys/fs/cgroup/user/memory.current": "1000\n",
      "sys/fs/cgroup/user/memory.stat": "anon 200\ninactive_file 600\nfile 800\n",
      "sys/fs/cgroup/user/job/memory.max": "max\n",
    ]) {
      #expect($0.processors == 1.5)
      #expect($0.memory == [ControlGroups.Memory(limit: 4000, free: 3600)])
    }
  }

  @Test func version2InAContainer() throws {
    try withRoot([
      "proc/self/mountinfo": Self.version2, "proc/self/cgroup": "0::/\n",
      "sys/fs/cgroup/cpu.max": "50000 100000", "sys/fs/cgroup/memory.max": "9", "sys/fs/cgroup/memory.current": "12",
    ]) {
      #expect($0.processors == 0.5)
      #expect($0.memory == [ControlGroups.Memory(limit: 9, free: 0)])
    }
  }

  @Test func version1() throws {
    try withRoot([
      "proc/self/mountinfo": Self.version1,
      "proc/self/cgroup": "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n",
      // The container sees its own group as the root of the mount, but under its path on the machine.
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
      "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "5000\n",
      "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": "2000\n",
      "sys/fs/cgroup/memory/docker/abc/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
    ]) {
      #expect($0.processors == 3)
      #expect($0.memory == [ControlGroups.Memory(limit: 5000, free: 3500)])
    }
  }

  @Test func version1WithoutAQuota() throws {
    try withRoot([
      "proc/self/mountinfo": Self.version1, "proc/self/cgroup": "3:cpu,cpuacct:/\n",
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    ]) {
      #expect($0.processors == nil)
      #expect($0.memory.isEmpty)
    }
  }

  /// A bind mount shows a subtree of the hierarchy; the process's path includes components outside of it.
  @Test func mountsOfASubtree() throws {
    try withRoot([
      "proc/self/mountinfo": "30 25 0:26 /machine/a /cg rw - cgroup2 cgroup2 rw\n",
      "proc/self/cgroup": "0::/machine/a/b\n", "cg/b/cpu.max": "400000 100000",
    ]) { #expect($0.processors == 4) }
  }

  @Test(arguments: [[:], ["proc/self/cgroup": "0::/\nx\n:::::"], ["proc/self/mountinfo": "- - -\n1 2 3 - cgroup2"]])
  func missingFiles(files: [String: String]) throws {
    try withRoot(files) {
      #expect($0.processors == nil)
      #expect($0.memory.isEmpty)
    }
  }
}

import Diagnostics
import Foundation

/// Folders that appear whole or not at all.
public enum AtomicFolder {
  /// Puts right what a process left in `parent` that was killed while it wrote there: takes away unfinished files and
  /// folders, and gives a folder that was being replaced its name back.
  public static func recover(in parent: URL) {
    let manager = FileManager.default
    for name in (try? manager.contentsOfDirectory(atPath: parent.path)) ?? [] where name.hasPrefix(".") {
      let left = parent.appendingPathComponent(name)
      if name.hasSuffix(".replaced") {
        let folder = parent.appendingPathComponent(String(name.dropFirst().dropLast(".replaced".count)))
        if manager.fileExists(atPath: folder.path) {
          try? manager.removeItem(at: left)
        } else {
          try? manager.moveItem(at: left, to: folder)
        }
      } else if name.hasSuffix(".partial") || (name.hasPrefix(".swiftlet-") && name.hasSuffix(".tmp")) {
        try? manager.removeItem(at: left)
      }
    }
  }

  /// Fills a temporary folder beside `folder` and renames it into place; what was there before is
  /// set aside until the new folder has its name. If `fill`
  /// throws, the temporary folder is removed and the old one stays.
  /// - Throws: what `fill` throws, and `SwiftletError` if the folder cannot be made or renamed.
  public static func write(_ folder: URL, _ fill: (URL) throws -> Void) throws {
    let parent = folder.deletingLastPathComponent()
    let temporary = parent.appendingPathComponent(".\(folder.lastPathComponent).partial")
    let manager = FileManager.default
    do {
      if manager.fileExists(atPath: temporary.path) { try manager.removeItem(at: temporary) }
      try manager.createDirectory(at: temporary, withIntermediateDirectories: true)
    } catch {
      throw SwiftletError.checkpoint(
        path: folder.path, reason: "cannot be written; check the folder's permissions and space")
    }
    do {
      try fill(temporary)
      let replaced = parent.appendingPathComponent(".\(folder.lastPathComponent).replaced")
      try? manager.removeItem(at: replaced)
      if manager.fileExists(atPath: folder.path) { try manager.moveItem(at: folder, to: replaced) }
      try manager.moveItem(at: temporary, to: folder)
      try? manager.removeItem(at: replaced)
    } catch {
      try? manager.removeItem(at: temporary)
      throw error
    }
  }
}

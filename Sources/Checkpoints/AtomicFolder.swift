import Diagnostics
import Essentials

/// Writes folders atomically: a folder appears complete or not at all.
public enum AtomicFolder {
  /// Cleans up in `parent` after a process that was killed while writing there: deletes unfinished files and folders,
  /// and restores a folder that was being replaced.
  public static func recover(in parent: URL) {
    let manager = FileManager.default
    for name in (try? manager.contentsOfDirectory(atPath: parent.path)) ?? [] where name.hasPrefix(".") {
      let leftover = parent.appendingPathComponent(name)
      if name.hasSuffix(".replaced") {
        let folder = parent.appendingPathComponent(String(name.dropFirst().dropLast(".replaced".count)))
        if manager.fileExists(atPath: folder.path) {
          try? manager.removeItem(at: leftover)
        } else {
          try? manager.moveItem(at: leftover, to: folder)
        }
      } else if name.hasSuffix(".partial") || (name.hasPrefix(".swiftlet-") && name.hasSuffix(".tmp")) {
        try? manager.removeItem(at: leftover)
      }
    }
  }

  /// Fills a temporary folder next to `folder`, then renames it into place. An existing folder is kept under another
  /// name until then, and stays if `fill` throws.
  /// - Parameter fill: writes the contents into the folder it is given.
  /// - Throws: any error of `fill`, and `SwiftletError` if the folder cannot be created or renamed.
  public static func write(_ folder: URL, _ fill: (URL) throws -> Void) throws {
    let parent = folder.deletingLastPathComponent()
    let temporary = parent.appendingPathComponent(".\(folder.lastPathComponent).partial")
    let manager = FileManager.default
    do {
      if manager.fileExists(atPath: temporary.path) { try manager.removeItem(at: temporary) }
      try manager.createDirectory(at: temporary, withIntermediateDirectories: true)
    } catch {
      throw SwiftletError.checkpoint(
        path: folder.path, reason: "could not be created; check the permissions and free disk space")
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

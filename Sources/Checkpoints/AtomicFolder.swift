import Foundation

/// Folders that appear whole or not at all.
public enum AtomicFolder {
  /// Fills a temporary folder beside `folder` and renames it into place; what was there before is
  /// set aside until the new folder has its name. If `fill`
  /// throws, the temporary folder is removed and the old one stays.
  /// - Throws: what `fill` throws, and `CheckpointError` if the folder cannot be made or renamed.
  public static func write(_ folder: URL, _ fill: (URL) throws -> Void) throws {
    let parent = folder.deletingLastPathComponent()
    let temporary = parent.appendingPathComponent(".\(folder.lastPathComponent).partial")
    let manager = FileManager.default
    do {
      if manager.fileExists(atPath: temporary.path) { try manager.removeItem(at: temporary) }
      try manager.createDirectory(at: temporary, withIntermediateDirectories: true)
    } catch {
      throw CheckpointError(path: folder.path, reason: "cannot be written; check the folder's permissions and space")
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

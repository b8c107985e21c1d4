import Checkpoints
import Datasets
import Diagnostics
import Essentials
import OrderedJSON

/// Writes the rows that an audit leaves.
public enum CleanRows {
  /// Writes rows as JSON Lines. The file appears when it is complete.
  /// - Parameters:
  ///   - indices: the indices of the rows to write.
  ///   - overwrites: whether the file may exist.
  ///   - progress: called from time to time with the number of rows written.
  /// - Throws: `SwiftletError` if the file exists or cannot be written, or a row cannot be read.
  public static func write(
    _ rows: any RowSource, _ indices: [Int], to file: URL, overwrites: Bool = false,
    progress: (_ done: Int) -> Void = { _ in }
  ) throws(SwiftletError) {
    if !overwrites, FileManager.default.fileExists(atPath: file.path) {
      throw SwiftletError.data(
        "the file exists; choose another name, or add --overwrite", at: FileLocation(file: file.path))
    }
    let output = try AtomicFile(replacing: file)
    let blockSize = 1024
    for start in stride(from: 0, to: indices.count, by: blockSize) {
      let block = indices[start..<min(indices.count, start + blockSize)]
      let lines = try Parallel.map(rows: block.indices, chunkSize: 64) { chunk throws(SwiftletError) in
        var text = ""
        for index in chunk { text += JSONValue.object(try rows.row(at: indices[index])).text() + "\n" }
        return Array(text.utf8)
      }
      for line in lines { try output.write(line) }
      progress(block.endIndex)
    }
    try output.commit()
  }
}

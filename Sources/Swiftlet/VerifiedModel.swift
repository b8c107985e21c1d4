import Auditing
import ChatTemplates
import Checkpoints
import Diagnostics
import Essentials
import Hub
import Models
import Tensors
import Tokenizers

/// A result of training, opened afresh from its files to be verified: an adapter or a model in any format that is
/// written, or a zip file of one.
public final class VerifiedModel {
  /// The model, with the adapter on it.
  public let model: CausalLM
  /// What the run recorded.
  public let record: VerificationRecord
  private let adapter: Adapter?
  /// The folder that a zip file was unpacked into.
  private let unpacked: URL?

  /// Opens a result.
  /// - Parameters:
  ///   - path: the folder or file.
  ///   - base: the base model of an adapter; by default, the one that `adapter_config.json` names.
  ///   - recordPath: the record, or the folder of the run that wrote it; by default, the one beside or in `path`.
  ///   - backend: computes.
  ///   - progress: called during a download of the base model.
  /// - Throws: `SwiftletError` if a file is missing, damaged or does not fit the others.
  public static func open(
    _ path: String, base: String? = nil, record recordPath: String? = nil, on backend: any Backend = CPUBackend.shared,
    progress: (@Sendable (HubProgress) -> Void)? = nil
  ) async throws -> VerifiedModel {
    let url = URL(fileURLWithPath: path.expandingTilde)
    guard FileManager.default.fileExists(atPath: url.path) else {
      throw SwiftletError.model("\(path): there is no such file or folder")
    }
    var place = url
    var unpacked: URL?
    if url.pathExtension.lowercased() == "zip" {
      let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swiftlet-\(UUID().uuidString)")
      unpacked = folder
      do {
        place = try unpack(url, into: folder)
      } catch {
        try? FileManager.default.removeItem(at: folder)
        throw error
      }
    }
    do {
      let record = try record(for: place, recordPath, path)
      let baseURL = try await baseLocation(of: place, base, progress)
      return try VerifiedModel(place, base: baseURL, texts: place, record, on: backend, unpacked: unpacked)
    } catch {
      if let unpacked { try? FileManager.default.removeItem(at: unpacked) }
      throw error
    }
  }

  /// - Parameters:
  ///   - base: the base model of an adapter.
  ///   - texts: the folder with the tokenizer and the template that an adapter was trained with. Those of the base model
  ///     take the place of missing ones, as in a program that loads the adapter.
  private init(
    _ url: URL, base: URL?, texts: URL, _ record: VerificationRecord, on backend: any Backend, unpacked: URL? = nil
  ) throws {
    let files = try ModelFiles(opening: base ?? ModelLocation.file(in: url)).extended(by: base.map { _ in texts })
    if base == nil {
      model = try CausalLM(files, tokenizer: files.tokenizer(), on: backend)
      adapter = nil
    } else {
      let hasTokenizer = FileManager.default.fileExists(atPath: texts.appendingPathComponent("tokenizer.json").path)
      model = try CausalLM(
        files, tokenizer: hasTokenizer ? Tokenizer(directory: texts) : files.tokenizer(),
        chatTemplate: ChatRenderer.templateSource(in: texts), on: backend, quantization: record.quantization)
      adapter = try Adapter(reading: url, onto: model.transformer)
    }
    self.record = record
    self.unpacked = unpacked
  }

  /// Opens a model that was just written.
  package convenience init(written url: URL, _ record: VerificationRecord) throws {
    try self.init(url, base: nil, texts: url, record, on: CPUBackend.shared)
  }

  /// Opens an adapter that was just exported.
  /// - Parameter original: the folder of the adapter that it was made from.
  package convenience init(
    exportedAdapter url: URL, of original: URL, base: URL, _ record: VerificationRecord
  ) throws {
    try self.init(url, base: base, texts: original, record, on: CPUBackend.shared)
  }

  deinit {
    if let unpacked { try? FileManager.default.removeItem(at: unpacked) }
  }

  /// Compares the model with the record.
  /// - Parameter progress: called with the number of answers generated and of all.
  public func verify(progress: (Int, Int) -> Void = { _, _ in }) throws -> Verification {
    try Verification(record, of: model, adapter: adapter, progress: progress)
  }

  /// Unpacks a zip file, and finds what it holds: the files themselves, one folder, or a GGUF file.
  private static func unpack(_ url: URL, into folder: URL) throws(SwiftletError) -> URL {
    try ZipArchive.extract(url, to: folder)
    func names(_ folder: URL) -> [String] {
      (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    }
    var place = folder
    let outer = names(folder)
    if outer.count == 1, FileManager.default.isFolder(folder.appendingPathComponent(outer[0]).path) {
      place = folder.appendingPathComponent(outer[0])
    }
    let inner = names(place)
    let files = inner.filter { $0.lowercased().hasSuffix(".gguf") }
    let isFolder = inner.contains("config.json") || inner.contains("adapter_config.json")
    return files.count == 1 && !isFolder ? place.appendingPathComponent(files[0]) : place
  }

  private static func record(
    for url: URL, _ recordPath: String?, _ path: String
  ) throws(SwiftletError) -> VerificationRecord {
    if let recordPath {
      let other = URL(fileURLWithPath: recordPath.expandingTilde)
      if !FileManager.default.isFolder(other.path) { return try VerificationRecord(contentsOf: other) }
      if let record = try VerificationRecord.read(for: other) { return record }
      throw SwiftletError.model("\(recordPath) has no \(VerificationRecord.fileName)")
    }
    if let record = try VerificationRecord.read(for: url) { return record }
    throw SwiftletError.model(
      "\(path) has no \(VerificationRecord.fileName) to compare with; name the folder of the run with --record")
  }

  /// The base model of an adapter; `nil` if `url` is a model.
  private static func baseLocation(
    of url: URL, _ base: String?, _ progress: (@Sendable (HubProgress) -> Void)?
  ) async throws -> URL? {
    guard let format = AdapterFormat(of: url) else { return nil }
    if format == .gguf, base == nil {
      throw SwiftletError.model("\(url.path) doesn't say which model the adapter is for; name it with --model")
    }
    let name = try base ?? LoRAExport.base(of: url)
    do {
      return try await ModelLocation.find(name, progress: progress)
    } catch  where base == nil {
      throw SwiftletError.model(
        "\(url.path): its base model \(name) is not available (\(error)); name it with --model")
    }
  }
}

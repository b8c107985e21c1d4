import Auditing
import ChatTemplates
import Checkpoints
import Diagnostics
import Essentials
import Hub
import Models
import Tensors
import Tokenizers

/// A result of training, opened afresh from its files to be verified: an adapter, a merged model, a GGUF file, or a zip
/// file of one of them.
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
      return try VerifiedModel(place, base: baseURL, record, on: backend, unpacked: unpacked)
    } catch {
      if let unpacked { try? FileManager.default.removeItem(at: unpacked) }
      throw error
    }
  }

  private init(_ url: URL, base: URL?, _ record: VerificationRecord, on backend: any Backend, unpacked: URL?) throws {
    let files = try ModelFiles(opening: base ?? ModelLocation.file(in: url))
    if base == nil {
      model = try CausalLM(files, tokenizer: files.tokenizer(), on: backend)
      adapter = nil
    } else {
      // The adapter's folder has the tokenizer and the template that it was trained with.
      let hasTokenizer = FileManager.default.fileExists(atPath: url.appendingPathComponent("tokenizer.json").path)
      model = try CausalLM(
        files, tokenizer: hasTokenizer ? Tokenizer(directory: url) : files.tokenizer(),
        chatTemplate: ChatRenderer.templateSource(in: url), on: backend, quantization: record.quantization)
      adapter = try Adapter(reading: url, onto: model.transformer)
    }
    self.record = record
    self.unpacked = unpacked
  }

  /// Opens a model that was just written.
  package convenience init(written url: URL, _ record: VerificationRecord) throws {
    try self.init(url, base: nil, record, on: CPUBackend.shared, unpacked: nil)
  }

  deinit {
    if let unpacked { try? FileManager.default.removeItem(at: unpacked) }
  }

  /// Compares the model with the record.
  /// - Parameter progress: called with the number of answers generated and of all.
  public func verify(progress: (Int, Int) -> Void = { _, _ in }) throws -> Verification {
    try Verification(record, of: model, isAdapter: adapter != nil, progress: progress)
  }

  /// Unpacks a zip file, and finds what it holds: the files themselves, or one folder.
  private static func unpack(_ url: URL, into folder: URL) throws(SwiftletError) -> URL {
    try ZipArchive.extract(url, to: folder)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    guard names.count == 1, FileManager.default.isFolder(folder.appendingPathComponent(names[0]).path) else {
      return folder
    }
    return folder.appendingPathComponent(names[0])
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
    guard FileManager.default.fileExists(atPath: url.appendingPathComponent("adapter_config.json").path) else {
      return nil
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

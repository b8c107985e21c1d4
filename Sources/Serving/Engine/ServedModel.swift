import ChatTemplates
import Diagnostics
import Essentials
import Models
import Swiftlet
import Tensors

/// A model that a server offers: a base model, or an adapter over it.
package struct ModelSource: Sendable {
  /// The name that clients use.
  package var id: String
  /// The folder or GGUF file of the base model.
  package var url: URL
  package var adapter: URL?
  package var quantization: QuantizationConfiguration?

  package init(id: String, url: URL, adapter: URL? = nil, quantization: QuantizationConfiguration? = nil) {
    (self.id, self.url, self.adapter, self.quantization) = (id, url, adapter, quantization)
  }
}

/// An opened model with its running generations, and the KV caches of those that have ended.
///
/// All models of a base map the same file, so each needs memory only for its adapter and caches.
final class ServedModel {
  let id: String
  let model: CausalLM
  var running: [RunningGeneration] = []
  /// The caches of ended generations, the latest last.
  private var idleCaches: [KeyValueCache] = []
  /// How much memory idle caches may take.
  private static let idleBytes = 1 << 30

  init(_ source: ModelSource, on backend: any Backend) throws {
    id = source.id
    let files = try ModelFiles(opening: source.url).extended(by: source.adapter)
    let template = try source.adapter.flatMap { try ChatRenderer.templateSource(in: $0) }
    model = try CausalLM(
      files, tokenizer: files.tokenizer(), chatTemplate: template, on: backend, quantization: source.quantization)
    if let folder = source.adapter { _ = try Adapter(reading: folder, onto: model.transformer) }
  }

  /// A cache for a prompt, with as many of its first tokens as another cache has.
  func cache(for prompt: [Int32], maxNewTokens: Int) -> KeyValueCache {
    let capacity = prompt.count + min(maxNewTokens, 512)
    guard model.transformer.canSharePrefix else { return KeyValueCache(for: model.transformer, capacity: capacity) }
    func shared(_ cache: KeyValueCache) -> Int {
      min(zip(cache.ids, prompt).prefix { $0 == $1 }.count, prompt.count - 1)
    }
    var candidates = (idleCaches + running.map(\.cache)).map { (cache: $0, shared: shared($0)) }
    // A recurrent state can only go on, and only once.
    if model.transformer.configuration.isRecurrent {
      candidates = idleCaches.map { ($0, shared($0)) }.filter { $0.shared == $0.cache.count }
    }
    guard let best = candidates.max(by: { $0.shared < $1.shared }), best.shared >= 16 else {
      return KeyValueCache(for: model.transformer, capacity: capacity)
    }
    // The next turn of the same conversation takes the cache; others copy what they share.
    if let index = idleCaches.firstIndex(where: { $0 === best.cache }), best.shared * 4 >= best.cache.count * 3 {
      idleCaches.remove(at: index)
      best.cache.truncate(to: best.shared)
      return best.cache
    }
    return best.cache.copy(first: best.shared, capacity: capacity)
  }

  /// Keeps the cache of a generation that has ended.
  func keep(_ cache: KeyValueCache) {
    guard model.transformer.canSharePrefix else { return }
    idleCaches.append(cache)
    while idleCaches.count > 1, idleCaches.reduce(0, { $0 + $1.byteCount }) > Self.idleBytes {
      idleCaches.removeFirst()
    }
  }
}

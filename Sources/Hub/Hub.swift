import Foundation

/// Downloads models and datasets from Hugging Face, its mirrors, or ModelScope into the cache that Python libraries use.
///
/// Environment: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` (or the token file that `hf auth login` writes),
/// `HF_HUB_OFFLINE`; `USE_MODELSCOPE_HUB`, `MODELSCOPE_ENDPOINT`, `MODELSCOPE_CACHE`, `MODELSCOPE_API_TOKEN`;
/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`; `SSL_CERT_FILE`.
public struct Hub: Sendable {
  private let settings: HubSettings
  var policy = RetryPolicy()
  /// Files downloaded in parallel.
  private static let concurrency = 4

  /// Configures a hub from environment variables.
  /// - Parameter service: the service to use. By default, ModelScope if `USE_MODELSCOPE_HUB` is true or only
  ///   `MODELSCOPE_ENDPOINT` is set, else Hugging Face.
  /// - Throws: `HubError` if a URL or token in the environment is malformed.
  public init(environment: [String: String], service: HubService? = nil) throws(HubError) {
    settings = try HubSettings(environment: environment, service: service)
  }

  /// Downloads the files of a revision that the cache lacks, and returns the snapshot folder.
  ///
  /// Interrupted downloads resume where they stopped, in this call or a later one. Sizes and hashes are checked. If the
  /// service is unreachable, or `HF_HUB_OFFLINE` is set, returns a cached snapshot.
  /// - Parameters:
  ///   - revision: a branch, tag or commit; by default the main branch.
  ///   - files: which files to download; by default those that fit the kind of repository.
  ///   - progress: called as bytes arrive, never from two threads at once.
  /// - Throws: `HubError`. What has been downloaded so far stays in the cache.
  public func snapshot(
    of repository: RepositoryID, revision: String? = nil, kind: RepositoryKind = .model, files: FileSelection? = nil,
    progress: @escaping @Sendable (HubProgress) -> Void = { _ in }
  ) async throws(HubError) -> URL {
    let revision = try checked(revision)
    let copy = try cached(repository, revision: revision, kind: kind)
    if settings.isOffline {
      if let copy { return copy }
      throw HubError(
        "\(repository)",
        "not in the cache (\(settings.cache.path)), and HF_HUB_OFFLINE is set. Unset it to download from "
          + "\(settings.endpointVariable), or pass a local path.")
    }
    let download = SnapshotDownload(
      connection: HubConnection(settings: settings, policy: policy, repository: repository),
      cache: HubCache(root: settings.cache, repository: repository, kind: kind), revision: revision, kind: kind,
      files: files ?? (kind == .model ? .model() : .dataset), concurrency: Self.concurrency)
    do {
      return try await download.run(progress: progress)
    } catch {
      if error.isOutage, let copy { return copy }
      throw error
    }
  }

  /// The folder of a cached snapshot; `nil` if there is none or some of its weights are missing.
  public func cached(
    _ repository: RepositoryID, revision: String? = nil, kind: RepositoryKind = .model
  ) throws(HubError) -> URL? {
    HubCache(root: settings.cache, repository: repository, kind: kind).completeSnapshot(of: try checked(revision))
  }

  private func checked(_ revision: String?) throws(HubError) -> String {
    guard let revision else { return settings.service == .huggingFace ? "main" : "master" }
    guard isSafeRelativePath(revision) else {
      throw HubError("\"\(excerpt(revision))\"", "not a valid revision. Use a branch, tag or commit.")
    }
    return revision
  }
}

extension Hub {
  /// The same hub with other delays, which tests keep short.
  package func retrying(
    attempts: Int, firstDelay: Duration, longestDelay: Duration, silence: Duration
  ) -> Hub {
    var hub = self
    hub.policy = RetryPolicy(
      attempts: attempts, firstDelay: firstDelay, longestDelay: longestDelay, silence: silence)
    return hub
  }
}

/// One call of `Hub.snapshot`.
private struct SnapshotDownload {
  let connection: HubConnection
  let cache: HubCache
  let revision: String
  let kind: RepositoryKind
  let files: FileSelection
  let concurrency: Int

  func run(progress: @escaping @Sendable (HubProgress) -> Void) async throws(HubError) -> URL {
    let repository = connection.repository
    let listing = try await connection.listing(revision, kind)
    let names = Set(try files.chosen(of: listing.files.map(\.path), in: repository))
    let wanted = listing.files.filter { names.contains($0.path) }
    for file in wanted where !isSafeRelativePath(file.path) {
      throw HubError(
        "\(repository)", "the repository lists \"\(excerpt(file.path))\", a path outside its folder. Do not trust it.")
    }
    try cache.prepare()
    let missing = wanted.filter { !cache.has($0.path, in: listing.commit) }
    let described = try await concurrently(missing) { (file) async throws(HubError) in
      try await connection.described(file)
    }
    let totalSize = described.reduce(0) { (sum: Int, file) in
      let (total, overflow) = sum.addingReportingOverflow(file.size ?? 0)
      return overflow ? .max : total
    }
    try requireSpace(totalSize)
    let tally = ProgressTally(totalSize: totalSize, report: progress)
    _ = try await concurrently(described) { (file) async throws(HubError) in
      guard let etag = file.etag else { return }
      let download = BlobDownload(connection: connection, cache: cache, file: file, etag: etag) { bytes in
        tally.advance(file, to: bytes)
      }
      try await download.run()
      try cache.link(file.path, to: etag, in: listing.commit)
    }
    try cache.remember(revision, as: listing.commit)
    return cache.snapshot(listing.commit)
  }

  /// Fails before the download starts rather than hours later.
  private func requireSpace(_ needed: Int) throws(HubError) {
    let attributes = try? FileManager.default.attributesOfFileSystem(forPath: cache.folder.path)
    guard let free = (attributes?[.systemFreeSize] as? NSNumber)?.intValue, needed > free else { return }
    throw HubError(
      "\(connection.repository)",
      "the download needs \(needed / 1_000_000) MB, but \(cache.folder.path) has only \(free / 1_000_000) MB "
        + "available. Free disk space, or set HF_HOME to another disk.")
  }

  /// Processes the elements, a few at a time. The first failure cancels the rest.
  private func concurrently<Element: Sendable, Value: Sendable>(
    _ elements: [Element], _ body: @escaping @Sendable (Element) async throws(HubError) -> Value
  ) async throws(HubError) -> [Value] {
    let result: Result<[Value], HubError> = await withTaskGroup(of: (Int, Result<Value, HubError>).self) { group in
      var next = 0
      func start() {
        guard next < elements.count else { return }
        let (place, element) = (next, elements[next])
        next += 1
        group.addTask {
          do throws(HubError) {
            return (place, .success(try await body(element)))
          } catch {
            return (place, .failure(error))
          }
        }
      }
      for _ in 0..<concurrency { start() }
      var values: [Int: Value] = [:]
      while let (place, result) = await group.next() {
        switch result {
        case .success(let value): values[place] = value
        case .failure(let error):
          group.cancelAll()
          return .failure(error)
        }
        start()
      }
      return .success(elements.indices.compactMap { values[$0] })
    }
    return try result.get()
  }
}

import Diagnostics
import Essentials

/// Downloads models and datasets from Hugging Face, its mirrors, or ModelScope into the cache that Python libraries
/// use.
///
/// Environment: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` (or the token file that `hf auth login` writes),
/// `HF_HUB_OFFLINE`; `USE_MODELSCOPE_HUB`, `MODELSCOPE_ENDPOINT`, `MODELSCOPE_CACHE`, `MODELSCOPE_API_TOKEN`;
/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`; `SSL_CERT_FILE`.
public struct Hub: Sendable {
  let settings: HubSettings
  var policy = RetryPolicy()
  /// Files downloaded in parallel.
  private static let concurrency = 4

  /// Configures a hub from environment variables.
  /// - Parameter service: the service to use. By default, ModelScope if `USE_MODELSCOPE_HUB` is true or only
  ///   `MODELSCOPE_ENDPOINT` is set, else Hugging Face.
  /// - Throws: `SwiftletError` if a URL or token in the environment is malformed.
  public init(environment: [String: String], service: HubService? = nil) throws(SwiftletError) {
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
  /// - Throws: `SwiftletError`. What has been downloaded so far stays in the cache.
  public func snapshot(
    of repository: RepositoryID, revision: String? = nil, kind: RepositoryKind = .model, files: FileSelection? = nil,
    progress: @escaping @Sendable (HubProgress) -> Void = { _ in }
  ) async throws(SwiftletError) -> URL {
    let revision = try checked(revision)
    let files = files ?? (kind == .model ? .model() : .dataset)
    let cache = HubCache(root: settings.cache, repository: repository, kind: kind)
    let copy = { CachedSnapshot(cache: cache, repository: repository, revision: revision, files: files) }
    if settings.isOffline {
      let copy = copy()
      if let url = copy.bestEffort { return url }
      throw SwiftletError.hub(
        "\(repository)",
        (copy.lack.map { "the copy in the cache (\(settings.cache.path)) lacks \($0)" }
          ?? "not in the cache (\(settings.cache.path))") + ", and HF_HUB_OFFLINE is set; unset it to download from "
          + "\(settings.endpointVariable) (\(settings.endpoint)), or pass a local path")
    }
    let download = SnapshotDownload(
      connection: HubConnection(settings: settings, policy: policy, repository: repository),
      cache: cache, revision: revision, kind: kind, files: files, concurrency: Self.concurrency)
    do {
      return try await download.run(progress: progress)
    } catch {
      if error.domain == .network, let url = copy().bestEffort { return url }
      throw error
    }
  }

  /// The folder of a cached snapshot that has all the files selected; `nil` if it lacks some, or if that can't be told
  /// without the service. Never uses the network.
  /// - Parameter files: which files are needed; by default those that fit the kind of repository.
  public func cached(
    _ repository: RepositoryID, revision: String? = nil, kind: RepositoryKind = .model, files: FileSelection? = nil
  ) throws(SwiftletError) -> URL? {
    CachedSnapshot(
      cache: HubCache(root: settings.cache, repository: repository, kind: kind), repository: repository,
      revision: try checked(revision), files: files ?? (kind == .model ? .model() : .dataset)
    ).complete
  }

  private func checked(_ revision: String?) throws(SwiftletError) -> String {
    // Recipes name Hugging Face's default branch; ModelScope's is `master`.
    guard let revision, settings.service == .huggingFace || revision != "main" else {
      return settings.service == .huggingFace ? "main" : "master"
    }
    guard isSafeRelativePath(revision) else {
      throw SwiftletError.hub(revision.quotedExcerpt, "not a valid revision; use a branch, tag or commit")
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

  func run(progress: @escaping @Sendable (HubProgress) -> Void) async throws(SwiftletError) -> URL {
    let repository = connection.repository
    let listing = try await connection.listing(revision, kind)
    let listed = listing.files.map(\.path)
    try cache.prepare()
    try cache.recordListing(listed, of: listing.commit)
    var names = try files.chosen(of: listed, in: repository)
    if let index = files.index(of: names) {
      // Its shards can only be listed once it is here.
      try await download(listing.files.filter { $0.path == index }, listing.commit) { _ in }
      guard let shards = cache.shards(in: index, of: listing.commit) else {
        throw SwiftletError.hub("\(repository) \(index)", "the index has no weight_map; use another revision")
      }
      if let missing = shards.first(where: { !listed.contains($0) }) {
        throw SwiftletError.hub(
          "\(repository) \(index)",
          "the index names the shard \(missing.quotedExcerpt), which the repository lacks; use another revision")
      }
      names += shards
    }
    let wanted = Set(names)
    try await download(listing.files.filter { wanted.contains($0.path) }, listing.commit, progress: progress)
    try cache.remember(revision, as: listing.commit)
    return cache.snapshot(listing.commit)
  }

  /// Downloads the files that the snapshot lacks.
  private func download(
    _ wanted: [RemoteFile], _ commit: String, progress: @escaping @Sendable (HubProgress) -> Void
  ) async throws(SwiftletError) {
    for file in wanted where !isSafeRelativePath(file.path) {
      throw SwiftletError.hub(
        "\(connection.repository)",
        "the repository lists \(file.path.quotedExcerpt), a path outside its folder; do not trust it")
    }
    let missing = wanted.filter { !cache.has($0.path, in: commit) }
    let described = try await concurrently(missing) { (file) async throws(SwiftletError) in
      try await connection.described(file)
    }
    let totalSize = described.reduce(0) { (sum: Int, file) in
      let (total, overflow) = sum.addingReportingOverflow(file.size ?? 0)
      return overflow ? .max : total
    }
    try requireSpace(totalSize)
    let tally = ProgressTally(totalSize: totalSize, report: progress)
    _ = try await concurrently(described) { (file) async throws(SwiftletError) in
      guard let etag = file.etag else { return }
      let download = BlobDownload(connection: connection, cache: cache, file: file, etag: etag) { bytes in
        tally.advance(file, to: bytes)
      }
      try await download.run()
      try cache.link(file.path, to: etag, in: commit)
    }
  }

  /// Fails before the download starts rather than hours later.
  private func requireSpace(_ needed: Int) throws(SwiftletError) {
    var status = statvfs()
    guard statvfs(cache.folder.path, &status) == 0 else { return }
    let free = Int(status.f_bavail) * Int(status.f_frsize)
    guard needed > free else { return }
    throw SwiftletError.hub(
      "\(connection.repository)",
      "the download needs \(needed / 1_000_000) MB, but \(cache.folder.path) has only \(free / 1_000_000) MB "
        + "available; free disk space, or set HF_HOME to another disk")
  }

  /// Processes the elements, a few at a time. The first failure cancels the rest.
  private func concurrently<Element: Sendable, Value: Sendable>(
    _ elements: [Element], _ body: @escaping @Sendable (Element) async throws(SwiftletError) -> Value
  ) async throws(SwiftletError) -> [Value] {
    let result: Result<[Value], SwiftletError> = await withTaskGroup(of: (Int, Result<Value, SwiftletError>).self) {
      group in
      var next = 0
      func start() {
        guard next < elements.count else { return }
        let (place, element) = (next, elements[next])
        next += 1
        group.addTask {
          do throws(SwiftletError) {
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

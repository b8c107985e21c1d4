import CCurl
import CLoader
import Essentials
import Synchronization

/// A request.
struct HTTPRequest: Sendable {
  enum Method: String, Sendable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case put = "PUT"
  }

  /// What is sent after the head.
  enum Body: Sendable {
    case bytes(Data)
    /// A part of a file, which is read while it is sent.
    case file(OpenFile, Range<Int>)

    var count: Int {
      switch self {
      case .bytes(let data): data.count
      case .file(_, let range): range.count
      }
    }
  }

  var method = Method.get
  var url: String
  var headers: [(name: String, value: String)] = []
  /// `nil` for `get` and `head`.
  var body: Body?
  /// The proxy's URL; `nil` connects directly, whatever the environment says.
  var proxy: String?
  /// A file of trusted certificates in PEM format; `nil` for the system's.
  var certificates: String?
  var connectTimeout = Duration.seconds(10)
  /// How long the server may send nothing. Sending less than 1 KiB/s for twice this long also ends the transfer.
  var silence = Duration.seconds(30)
}

/// Status and headers of a response.
struct HTTPResponseHead: Sendable {
  var status = 0
  var headers: [(name: String, value: String)] = []

  /// The first header of this name, in any letter case.
  subscript(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name.lowercased() }?.value
  }
}

/// Takes a response as it arrives. Called on the transfer thread, so it may block but must not suspend.
protocol HTTPResponseReceiver: Sendable {
  /// Returns whether the body is wanted. An error ends the transfer.
  func begin(_ head: HTTPResponseHead) throws(AttemptFailure) -> Bool
  /// Takes the next bytes of the body. An error ends the transfer.
  func receive(_ part: Data) throws(AttemptFailure)
}

/// Why a transfer ended early.
enum HTTPTransferFailure: Error {
  case canceled
  /// The receiver's own error.
  case rejected(AttemptFailure)
  /// No connection: the host name, the host, or the proxy.
  case unreachable(String)
  /// The server's certificate isn't trusted.
  case untrusted(String)
  /// The connection broke, fell silent, or ended before the announced length.
  case broken(String)
}

/// Runs HTTP transfers with libcurl on a thread of its own: neither the network nor the receivers' disk writes block
/// Swift's cooperative threads. Connections are kept open and reused. Redirects are not followed.
final class HTTPTransfers: Sendable {
  static let shared = HTTPTransfers()

  private struct Inbox {
    var added: [Transfer] = []
    var canceled: [Transfer] = []
  }

  private let inbox = Mutex(Inbox())
  // Safe: only the transfer thread uses it, except for curl_multi_wakeup, which is thread-safe.
  private nonisolated(unsafe) let multi: UnsafeMutableRawPointer?

  private init() {
    curl_global_init(Int(CURL_GLOBAL_ALL))
    multi = curl_multi_init()
    guard multi != nil else { return }
    SystemThread.start { [self] in run() }
  }

  /// Performs one request. Canceling the task ends the transfer at once.
  func perform(
    _ request: HTTPRequest, into receiver: some HTTPResponseReceiver
  ) async throws(HTTPTransferFailure) -> HTTPResponseHead {
    if let failure = loader_failure(loader_curl) {
      throw .unreachable(
        "libcurl cannot be used: \(String(cString: failure)); on Debian and Ubuntu, run `apt install libcurl4`")
    }
    guard multi != nil else { throw .unreachable("libcurl could not be initialized") }
    let transfer = Transfer(request, receiver)
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        transfer.continuation = continuation
        notify { $0.added.append(transfer) }
      }
    } onCancel: {
      notify { $0.canceled.append(transfer) }
    }
    return try result.get()
  }

  private func notify(_ change: (inout Inbox) -> Void) {
    inbox.withLock { change(&$0) }
    curl_multi_wakeup(multi)
  }

  private func run() {
    blockBrokenPipeSignal()
    var running: [UnsafeMutableRawPointer: Transfer] = [:]
    func end(_ transfer: Transfer, _ result: Result<HTTPResponseHead, HTTPTransferFailure>) {
      if let handle = transfer.handle {
        curl_multi_remove_handle(multi, handle)
        running[handle] = nil
      }
      transfer.end(result)
    }
    while true {
      let news = inbox.withLock { inbox in
        defer { inbox = Inbox() }
        return inbox
      }
      // A cancellation may arrive before its transfer.
      for transfer in news.canceled {
        transfer.isCanceled = true
        if transfer.handle != nil { end(transfer, .failure(.canceled)) }
      }
      for transfer in news.added {
        if transfer.isCanceled {
          end(transfer, .failure(.canceled))
        } else if let handle = transfer.prepare(), curl_multi_add_handle(multi, handle) == CURLM_OK {
          running[handle] = transfer
        } else {
          end(transfer, .failure(.unreachable("libcurl could not start the request")))
        }
      }
      var count: Int32 = 0
      curl_multi_perform(multi, &count)
      while let message = curl_multi_info_read(multi, &count)?.pointee {
        guard message.msg == CURLMSG_DONE, let transfer = message.easy_handle.flatMap({ running[$0] }) else { continue }
        end(transfer, transfer.result(message.data.result))
      }
      let now = ContinuousClock.now
      var wait = Duration.seconds(running.isEmpty ? 3600 : 1)
      for transfer in running.values {
        let left = transfer.lastActivity + transfer.request.silence - now
        if left <= .zero {
          end(transfer, .failure(.broken("the server sent nothing for \(transfer.request.silence)")))
        } else {
          wait = min(wait, left)
        }
      }
      curl_multi_poll(multi, nil, 0, Int32(wait / .milliseconds(1)) + 1, nil)
    }
  }

  /// A write to a connection that the other side has closed must return an error instead of ending the process.
  private func blockBrokenPipeSignal() {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &signals, nil)
  }
}

/// One request on its way.
private final class Transfer: @unchecked Sendable {
  // Sendable because only the transfer thread touches its state once it has been submitted.
  let request: HTTPRequest
  private let receiver: any HTTPResponseReceiver
  var continuation: CheckedContinuation<Result<HTTPResponseHead, HTTPTransferFailure>, Never>?
  var isCanceled = false
  private(set) var handle: UnsafeMutableRawPointer?
  private(set) var lastActivity = ContinuousClock.now
  private var headers: UnsafeMutablePointer<curl_slist>?
  private let errorText = UnsafeMutableBufferPointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
  private var head = HTTPResponseHead()
  private var isHeadComplete = false
  private var wantsBody = false
  private var unwanted = 0
  /// Bytes of the body that curl has taken.
  private var sent = 0
  private var rejection: AttemptFailure?
  /// Bytes of an unwanted body to read so that the connection can be reused.
  private static let unwantedLimit = 1 << 16

  init(_ request: HTTPRequest, _ receiver: any HTTPResponseReceiver) {
    self.request = request
    self.receiver = receiver
    errorText.initialize(repeating: 0)
  }

  deinit { errorText.deallocate() }

  func prepare() -> UnsafeMutableRawPointer? {
    guard let handle = curl_easy_init() else { return nil }
    self.handle = handle
    for header in request.headers {
      // A list that could not grow is still the old one.
      headers = curl_slist_append(headers, "\(header.name): \(header.value)") ?? headers
    }
    // Without it, curl waits a second for servers that don't know the header.
    if request.body != nil { headers = curl_slist_append(headers, "Expect:") ?? headers }
    let context = Unmanaged.passUnretained(self).toOpaque()
    let seconds = max(1, Int((request.silence * 2) / .seconds(1)))
    let codes = [
      curl_set_string(handle, CURLOPT_URL, request.url),
      curl_set_long(handle, CURLOPT_NOBODY, request.method == .head ? 1 : 0),
      // Several files of one host need several connections.
      curl_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1)),
      curl_set_pointer(handle, CURLOPT_HTTPHEADER, headers),
      // An empty string keeps curl from reading the environment itself.
      curl_set_string(handle, CURLOPT_PROXY, request.proxy ?? ""),
      curl_set_string(handle, CURLOPT_NOPROXY, ""),
      curl_set_long(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1),
      curl_set_long(handle, CURLOPT_NOSIGNAL, 1),
      curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, Int(request.connectTimeout / .milliseconds(1))),
      curl_set_long(handle, CURLOPT_LOW_SPEED_LIMIT, 1024),
      curl_set_long(handle, CURLOPT_LOW_SPEED_TIME, seconds),
      curl_set_long(handle, CURLOPT_TCP_KEEPALIVE, 1),
      curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText.baseAddress),
      curl_set_pointer(handle, CURLOPT_HEADERDATA, context),
      curl_set_callback(handle, CURLOPT_HEADERFUNCTION) { data, size, count, context in
        Transfer.pass(data, size * count, context) { $0.receiveHeader($1) }
      },
      curl_set_pointer(handle, CURLOPT_WRITEDATA, context),
      curl_set_callback(handle, CURLOPT_WRITEFUNCTION) { data, size, count, context in
        Transfer.pass(data, size * count, context) { $0.receiveBody($1) }
      },
      request.certificates.map { curl_set_string(handle, CURLOPT_CAINFO, $0) } ?? CURLE_OK,
    ]
    lastActivity = .now
    return (codes + bodyOptions(handle, context)).allSatisfy { $0 == CURLE_OK } ? handle : nil
  }

  private func bodyOptions(_ handle: UnsafeMutableRawPointer, _ context: UnsafeMutableRawPointer) -> [CURLcode] {
    guard let body = request.body else { return [] }
    return [
      curl_set_long(handle, CURLOPT_UPLOAD, 1), curl_set_string(handle, CURLOPT_CUSTOMREQUEST, request.method.rawValue),
      curl_set_long(handle, CURLOPT_INFILESIZE_LARGE, body.count), curl_set_pointer(handle, CURLOPT_READDATA, context),
      curl_set_callback(handle, CURLOPT_READFUNCTION) { data, size, count, context in
        guard let data, let context else { return Int(CURL_READFUNC_ABORT) }
        let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
        return transfer.fill(UnsafeMutableRawBufferPointer(start: data, count: size * count))
      },
    ]
  }

  /// Copies the next bytes of the body for curl to send; 0 at its end.
  private func fill(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
    lastActivity = .now
    guard let body = request.body, !buffer.isEmpty else { return 0 }
    let count = min(buffer.count, body.count - sent)
    guard count > 0 else { return 0 }
    switch body {
    case .bytes(let data):
      data.dropFirst(sent).prefix(count).copyBytes(to: buffer)
      sent += count
      return count
    case .file(let file, let range):
      let read = pread(file.descriptor, buffer.baseAddress, count, off_t(range.lowerBound + sent))
      // A file that became shorter can't be sent as announced.
      guard read > 0 else { return Int(CURL_READFUNC_ABORT) }
      sent += read
      return read
    }
  }

  /// Hands bytes of curl's to the transfer; a count other than theirs ends it.
  private static func pass(
    _ bytes: UnsafeMutablePointer<CChar>?, _ count: Int, _ context: UnsafeMutableRawPointer?,
    to receive: (Transfer, Data) -> Bool
  ) -> Int {
    guard let bytes, let context, count > 0 else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    let isContinued = receive(transfer, Data(bytes: bytes, count: count))
    transfer.lastActivity = .now
    return isContinued ? count : 0
  }

  /// One line: a status line, a header, or the empty line that ends them. Interim responses (1xx) come first.
  private func receiveHeader(_ bytes: Data) -> Bool {
    // Trailers follow a chunked body.
    if isHeadComplete { return true }
    let line = String(decoding: bytes, as: UTF8.self).trimmed
    if line.isEmpty {
      if head.status < 200 { return true }
      isHeadComplete = true
      do throws(AttemptFailure) {
        wantsBody = try receiver.begin(head)
      } catch {
        rejection = error
      }
      return rejection == nil
    }
    if line.hasPrefix("HTTP/") {
      let words = line.split(separator: " ", maxSplits: 2)
      head = HTTPResponseHead(status: words.count > 1 ? Int(words[1]) ?? 0 : 0)
    } else if let colon = line.firstIndex(of: ":") {
      let value = line[line.index(after: colon)...].trimmed
      head.headers.append((String(line[..<colon]), value))
    }
    return true
  }

  private func receiveBody(_ bytes: Data) -> Bool {
    guard wantsBody else {
      unwanted += bytes.count
      return unwanted <= Self.unwantedLimit
    }
    do throws(AttemptFailure) {
      try receiver.receive(bytes)
    } catch {
      rejection = error
    }
    return rejection == nil
  }

  func result(_ code: CURLcode) -> Result<HTTPResponseHead, HTTPTransferFailure> {
    if let rejection { return .failure(.rejected(rejection)) }
    if code == CURLE_OK || isHeadComplete && !wantsBody { return .success(head) }
    let detail = errorText.baseAddress.map { String(cString: $0) } ?? ""
    let cause = detail.isEmpty ? String(cString: curl_easy_strerror(code)) : detail
    switch code {
    case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_PROXY:
      return .failure(.unreachable(cause))
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE:
      return .failure(.untrusted(cause))
    default: return .failure(.broken(cause))
    }
  }

  /// Frees what curl holds and resumes the waiting task.
  func end(_ result: Result<HTTPResponseHead, HTTPTransferFailure>) {
    if let handle { curl_easy_cleanup(handle) }
    curl_slist_free_all(headers)
    (handle, headers) = (nil, nil)
    continuation?.resume(returning: result)
    continuation = nil
  }
}

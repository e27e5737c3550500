# syntax=docker/dockerfile:1

FROM rust:1.95-trixie AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin bailiwick \
    && cp target/release/bailiwick /bailiwick

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin bailiwick \
    && install --directory --owner bailiwick --group bailiwick --mode 700 /data
COPY --from=build /bailiwick /usr/local/bin/bailiwick
USER bailiwick
# Keys, anchor and snapshot, and the embedded log where no NATS is named: losing it is losing the
# ledger's identity.
VOLUME /data
ENV BAILIWICK_DATA=/data
EXPOSE 7420
# No HTTP client is in the image but this shell.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7420 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["bailiwick"]
# On loopback by default, which only other processes of this container reach: give
# BAILIWICK_LISTEN, with TLS or BAILIWICK_ALLOW_PLAIN=true.
CMD ["serve"]

# impasto studio on the CPU: docker build -t impasto . && docker run -p 8765:8765 -v impasto:/data impasto
# The printed address holds the token; open it with the host's name, and add --name HOST for names other than localhost.
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 impasto && install --directory --owner impasto /data
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt "/src[studio,formats]" \
    && rm -r /src

USER impasto
VOLUME /data
EXPOSE 8765
ENTRYPOINT ["impasto", "studio", "--host", "0.0.0.0", "--data", "/data", "--no-browser"]

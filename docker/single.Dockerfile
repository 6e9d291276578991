# einhorn as one executable with Node in it, and the files beside it: to COPY --from into an image without Node (glibc).
#
#   npm run single
#   docker build -f docker/single.Dockerfile -t einhorn:1.0.0-single build/single
FROM scratch
COPY . /usr/local/
